// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"context"
	"encoding/base64"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"restante/internal/testpeer"
	"restante/internal/testpeer/slapd"
)

const directoryEntries = `dn: dc=corp,dc=test
objectClass: dcObject
objectClass: organization
o: Corp
dc: corp

dn: ou=people,dc=corp,dc=test
objectClass: organizationalUnit
ou: people

dn: cn=restante,dc=corp,dc=test
objectClass: person
cn: restante
sn: restante
userPassword: search-secret

dn: uid=joe,ou=people,dc=corp,dc=test
objectClass: inetOrgPerson
uid: joe
cn: Joe
sn: Doe
mail: joe.doe@corp.test
userPassword: joe-secret

dn: uid=ann,ou=people,dc=corp,dc=test
objectClass: inetOrgPerson
objectClass: addressed
proxyAddresses: SMTP:ann@held.test
proxyAddresses: smtp:ann.other@hub.test
uid: ann
cn: Ann
sn: Other
userPassword: ann-secret

dn: uid=testserver,ou=people,dc=corp,dc=test
objectClass: inetOrgPerson
uid: testserver
cn: Same name as an account
sn: Same
mail: same@corp.test
userPassword: directory-secret

dn: cn=mail,dc=corp,dc=test
objectClass: groupOfNames
cn: mail
member: uid=joe,ou=people,dc=corp,dc=test
member: uid=testserver,ou=people,dc=corp,dc=test
`

// startDirectory starts slapd with a certificate for localhost.
func startDirectory(t *testing.T) (s *slapd.Server, ca string) {
	t.Helper()
	testpeer.Need(t, "slapd")
	dir := t.TempDir()
	cert, key := testpeer.WriteCertificate(t, dir, "localhost")
	s, err := slapd.Start(context.WithoutCancel(t.Context()), dir, cert, key, directoryEntries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, cert
}

// signInAs signs in over a connection of its own, and gives the reply and what hello
// answered.
func signInAs(t *testing.T, s *testpeer.Service, mechanism, name, password string) (reply string, l *testpeer.Client) {
	t.Helper()
	return signInAt(t, s.Addr(1), mechanism, name, password)
}

func signInAt(t *testing.T, addr, mechanism, name, password string) (reply string, l *testpeer.Client) {
	t.Helper()
	l, err := testpeer.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	lines := []string{"AUTH PLAIN " + b64([]byte("\x00"+name+"\x00"+password))}
	if mechanism == "LOGIN" {
		lines = []string{"AUTH LOGIN", b64([]byte(name)), b64([]byte(password))}
	}
	for _, line := range lines {
		if _, err := l.Write([]byte(line + "\r\n")); err != nil {
			t.Fatal(err)
		}
		if reply, err = l.Reply(); err != nil {
			t.Fatal(err)
		}
	}
	return reply, l
}

type signInCase struct{ mechanism, name, password, want string }

// trySignIns tries all at once.
func trySignIns(t *testing.T, s *testpeer.Service, what string, tests ...signInCase) {
	t.Helper()
	var all sync.WaitGroup
	for _, tt := range tests {
		all.Go(func() {
			got, l := signInAs(t, s, tt.mechanism, tt.name, tt.password)
			defer l.Close()
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s: %s as %s with %q: %q, want %s", what, tt.mechanism, tt.name, tt.password, got, tt.want)
			}
		})
	}
	all.Wait()
}

func atHost(addr, host string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(host, port)
}

// TestDirectoryAccounts signs in with the accounts of a slapd: by what they may, and
// what becomes of them when it is down.
func TestDirectoryAccounts(t *testing.T) {
	t.Parallel()
	dir, ca := startDirectory(t)
	s := startService(t)
	createHeldDomain(t, s, "held.test", "joe")
	sendMessages(t, s, "held.test", 1)
	set(t, s, "ConnectionLimitExempt", "127.0.0.1")
	set(t, s, "LdapCaFile", ca)
	set(t, s, "LdapBaseDn", "dc=corp,dc=test")
	set(t, s, "LdapUserFilter", "(|(uid=%s)(mail=%s))")
	set(t, s, "LdapAccountAttribute", "uid")
	set(t, s, "LdapRequiredGroup", "cn=mail,dc=corp,dc=test")
	set(t, s, "LdapBindDn", "cn=restante,dc=corp,dc=test")
	set(t, s, "LdapBindPassword", "search-secret")
	set(t, s, "LdapTimeout", "30")

	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = mute.Close() // the first server is down
	for what, url := range map[string]string{"ldaps": "ldaps://" + atHost(dir.Secure, "localhost"), "StartTLS": "ldap://" + atHost(dir.Plain, "localhost")} {
		set(t, s, "LdapUrls", "ldap://"+mute.Addr().String(), url)
		trySignIns(t, s, what,
			signInCase{"PLAIN", "joe", "joe-secret", "235 2.7.0"},
			signInCase{"LOGIN", "JOE", "joe-secret", "235 2.7.0"},
			signInCase{"PLAIN", "joe.doe@corp.test", "joe-secret", "235 2.7.0"},
			signInCase{"PLAIN", `CORP\joe`, "joe-secret", "235 2.7.0"},
			signInCase{"PLAIN", "joe", "wrong", "535 5.7.8"},
			signInCase{"LOGIN", "joe", "", "535 5.7.8"},
			signInCase{"PLAIN", "ann", "ann-secret", "535 5.7.8"}, // not in the group
			signInCase{"PLAIN", "nobody", "joe-secret", "535 5.7.8"},
			signInCase{"PLAIN", "*", "joe-secret", "535 5.7.8"},
			signInCase{"PLAIN", "joe)(uid=*", "joe-secret", "535 5.7.8"},
			signInCase{"PLAIN", account, password, "235 2.7.0"},
			signInCase{"PLAIN", account, "directory-secret", "535 5.7.8"},          // the service's own comes first
			signInCase{"PLAIN", "same@corp.test", "directory-secret", "535 5.7.8"}, // which it would be
		)
	}
	reply, l := signInAs(t, s, "PLAIN", "joe.doe@corp.test", "joe-secret")
	for _, step := range [][2]string{{"MAIL FROM:<joe@corp.test>", "250"}, {"RCPT TO:<x@foreign.test>", "250"}, {"RSET", "250"}, {"ATRN held.test", "250 2.0.0 OK, reversing"}} {
		if err := l.Say(step[0], step[1]); err != nil {
			t.Errorf("signed in (%s): %v", reply, err)
		}
	}
	l.Close()
	if _, l := signInAs(t, s, "PLAIN", account, password); l.Say("ATRN held.test", "450") != nil {
		t.Error("an account that the domain does not name may take its mail")
	}
	l, err = testpeer.Connect(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("EHLO c.test\r\n")); err != nil {
		t.Fatal(err)
	}
	if reply, _ := l.Reply(); strings.Contains(reply, "SCRAM") {
		t.Errorf("EHLO offers what the directory's accounts cannot do: %s", reply)
	}

	trySignIns(t, s, "before it is down", signInCase{"PLAIN", "joe", "joe-secret", "235 2.7.0"})
	if out := runCommand(t, s, "", "explain", "1", "x@foreign.test", "--account", "joe"); !strings.Contains(out, "RelayForAuth") {
		t.Errorf("explain does not know the directory's account: %s", out)
	}
	dir.Stop()
	trySignIns(t, s, "down",
		signInCase{"PLAIN", "joe", "joe-secret", "235 2.7.0"}, // within LdapCacheTime
		signInCase{"PLAIN", "joe", "wrong", "454 4.7.0"},
		signInCase{"PLAIN", "ann", "ann-secret", "454 4.7.0"},
		signInCase{"PLAIN", account, password, "235 2.7.0"},
	)
	set(t, s, "LdapCacheTime", "0")
	trySignIns(t, s, "down, without a cache", signInCase{"PLAIN", "joe", "joe-secret", "454 4.7.0"})
	for _, want := range []string{
		`msg="signed in" .*account=joe mechanism=PLAIN`,
		`msg="sign-in refused" .*account=ann .*why="directory: uid=ann,ou=people,dc=corp,dc=test is not in cn=mail`,
		`msg="sign-in refused" .*account=joe .*why="454 4.7.0 Temporary authentication failure: ldaps?://localhost:.*connection refused`,
	} {
		if !regexp.MustCompile(want).MatchString(s.Log()) {
			t.Errorf("no line %s in\n%s", want, s.Log())
		}
	}
	if strings.Contains(s.Log(), "secret") {
		t.Error("a password is in the log")
	}
}

// TestDirectoryIsTrustedByItsCertificate: without the authority, or with another
// name, nothing is sent, and the sign-in is told to come again.
func TestDirectoryIsTrustedByItsCertificate(t *testing.T) {
	t.Parallel()
	dir, ca := startDirectory(t)
	other, _ := testpeer.WriteCertificate(t, t.TempDir(), "localhost")
	s := startService(t)
	set(t, s, "ConnectionLimitExempt", "127.0.0.1")
	set(t, s, "LdapBindTemplate", "uid=%s,ou=people,dc=corp,dc=test")
	for _, tt := range []struct{ ca, url, startTLS, want string }{
		{ca, "ldaps://" + atHost(dir.Secure, "localhost"), "true", "235 2.7.0"},
		{ca, "ldap://" + atHost(dir.Plain, "localhost"), "true", "235 2.7.0"},
		{other, "ldaps://" + atHost(dir.Secure, "localhost"), "true", "454 4.7.0"},
		{other, "ldap://" + atHost(dir.Plain, "localhost"), "true", "454 4.7.0"},
		{other, "ldap://" + atHost(dir.Plain, "localhost"), "false", "235 2.7.0"}, // in clear
		{ca, "ldaps://" + dir.Secure, "true", "454 4.7.0"},                        // the certificate is for localhost
		{"", "ldaps://" + atHost(dir.Secure, "localhost"), "true", "454 4.7.0"},
		{ca + ".missing", "ldaps://" + atHost(dir.Secure, "localhost"), "true", "454 4.7.0"},
	} {
		set(t, s, "LdapCaFile", tt.ca)
		set(t, s, "LdapStartTls", tt.startTLS)
		set(t, s, "LdapUrls", tt.url)
		trySignIns(t, s, tt.url+" "+tt.ca, signInCase{"PLAIN", "joe", "joe-secret", tt.want})
	}
}

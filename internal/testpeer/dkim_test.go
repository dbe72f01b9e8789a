// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"restante/admin/api"
	"restante/engine/auth"
	"restante/internal/testpeer"
	"restante/internal/testpeer/slapd"
)

// verified counts the signatures of a message that OpenDKIM and go-msgauth both verify
// by the records of keys, and names their selectors.
func verified(t *testing.T, message []byte, keys []api.DkimKey) (selectors []string) {
	t.Helper()
	var records strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&records, "%s %s\n", k.Record, k.Text)
	}
	found, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		for _, k := range keys {
			if k.Record == name {
				return []string{k.Text}, nil
			}
		}
		return nil, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, one := range found {
		if one.Err == nil && one.Domain == "hub.test" {
			good++
		}
	}
	dir := t.TempDir()
	config := writeFile(t, filepath.Join(dir, "opendkim.conf"), "Mode v\nSyslog no\nBackground no\nRequireSafeKeys no\nOn-Default accept\nTemporaryDirectory "+dir+
		"\nTestPublicKeys "+writeFile(t, filepath.Join(dir, "keys"), records.String())+"\n")
	path, err := slapd.Look("opendkim")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "-x", config, "-vv", "-t", writeFile(t, filepath.Join(dir, "m"), string(message))).CombinedOutput()
	if err != nil {
		t.Fatalf("opendkim: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "dkim=pass") {
			_, selector, _ := strings.Cut(line, "header.s=")
			selectors = append(selectors, strings.Fields(selector)[0])
		}
	}
	if len(selectors) != good {
		t.Errorf("go-msgauth verifies %d signatures, opendkim:\n%s", good, out)
	}
	return selectors
}

// TestMailOfUsersIsSigned: what users submit leaves with the signatures of each key that
// signs, and is otherwise as it came; what passes through leaves as it came. A key of a
// rotation signs when it is published. No file or answer has a private key.
func TestMailOfUsersIsSigned(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "opendkim")
	s := startService(t)
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, "RCPT TO:<nobody@") {
			return "550 5.1.1 nobody"
		}
		return ""
	}})
	own, err := auth.NewKey("e1", auth.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	call(t, s, api.DomainCreate, api.DomainCreateRequest{Site: 1, Name: "other.test", SmartHost: mx.Addr})
	call(t, s, api.DomainCreate, api.DomainCreateRequest{Site: 1, Name: "relayed.test", SmartHost: mx.Addr, Relay: true})
	createHeldDomain(t, s, "held.test", account)
	applyBatch(t, s, "set SMTPSVC/1/Domain/hub.test DkimKeys '"+own.Secret()+"'", "set SMTPSVC/1/Domain/hub.test DkimSelectors e1")
	dns := pointDNS(t, s, mx.Addr, "")
	keys := call(t, s, api.DomainDkim, api.DkimRequest{Site: 1, Name: "hub.test", Selector: "r1"}).Keys

	head := "From: A <a@hub.test>\r\nTo: x@other.test\r\nSubject: a\r\n\tb\r\nDate: Sat, 28 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@hub.test>\r\n\r\n"
	messages := []string{
		head + "body \t\r\n.\r\n..\r\nGr\xfc\xdfe\r\n\r\n\r\n",
		head + strings.Repeat(strings.Repeat("x", 998)+"\r\n", 2000),
		head,
	}
	for i, text := range messages {
		sendText(t, s, "a@hub.test", "x@other.test", text)
		await(t, "the message at the host", func() bool { return len(mx.Messages()) > i })
		got := mx.Messages()[i]
		if !bytes.HasSuffix(got.Body, []byte(text)) || !strings.Contains(got.Params[0], fmt.Sprintf("SIZE=%d", len(got.Body))) && strings.Contains(got.Params[0], "SIZE=") {
			t.Errorf("message %d: %s, %d octets, and its text is as it came: %v", i, got.Params[0], len(got.Body), bytes.HasSuffix(got.Body, []byte(text)))
		}
		if by := verified(t, got.Body, keys); !slices.Equal(by, []string{"e1", "r1"}) {
			t.Errorf("message %d is signed by %q:\n%.1000s", i, by, got.Body)
		}
	}

	writeFile(t, filepath.Join(s.Data, "Mailroot", "Pickup", "one.txt"), "x-sender: a@hub.test\r\nx-receiver: x@other.test\r\n"+messages[0])
	sendText(t, s, "a@hub.test", "nobody@other.test", messages[0])
	await(t, "the file's message at the host", func() bool { return len(mx.Messages()) > len(messages) })
	if by := verified(t, mx.Messages()[len(messages)].Body, keys); len(by) != 2 {
		t.Errorf("the file is signed by %q", by)
	}
	_, report, _ := strings.Cut(awaitDropped(t, s, 1)[0], "x-receiver: a@hub.test\r\n")
	if by := verified(t, []byte(report), keys); len(by) != 2 || !strings.Contains(report, "message/delivery-status") {
		t.Errorf("the report is signed by %q:\n%.1000s", by, report)
	}

	publish := func(list []api.DkimKey) {
		var zone strings.Builder
		for _, k := range list {
			fmt.Fprintf(&zone, "%s. 60 IN TXT \"%s\" \"%s\"\n", k.Record, k.Text[:60], k.Text[60:])
		}
		dns.Zone(t, zone.String())
	}
	rotate := api.DkimRequest{Site: 1, Name: "hub.test", Rotate: true, Type: "rsa", Selector: "r2"}
	keys = call(t, s, api.DomainDkim, rotate).Keys
	send := func() []string {
		n := len(mx.Messages())
		sendText(t, s, "a@hub.test", "x@other.test", messages[0])
		await(t, "the message at the host", func() bool { return len(mx.Messages()) > n })
		return verified(t, mx.Messages()[n].Body, keys)
	}
	if by := send(); !slices.Equal(by, []string{"e1", "r1"}) {
		t.Errorf("before the new key is published, signed is by %q", by)
	}
	publish(keys)
	if a := call(t, s, api.DomainDkim, rotate); !slices.Equal(a.Retired, []string{"r1"}) {
		t.Errorf("when the new key is published: %+v", a)
	}
	if by := send(); !slices.Equal(by, []string{"e1", "r2"}) {
		t.Errorf("when the new key is published, signed is by %q", by)
	}

	for _, who := range []string{"192.0.2.0/24 " + account, account + " 127.0.0.0/8"} {
		applyBatch(t, s, "set SMTPSVC/1/Domain/hub.test DkimFor "+who)
		if by := send(); (len(by) == 2) != strings.Contains(who, "127.") {
			t.Errorf("for %s, signed is by %q", who, by)
		}
	}
	n := len(mx.Messages())
	set(t, s, "RelayIpList", "192.0.2.0/24")
	sendText(t, s, "a@hub.test", "x@relayed.test", messages[0])
	sendText(t, s, "a@hub.test", "x@held.test", messages[0])
	await(t, "the message that passes through", func() bool { return len(mx.Messages()) > n })
	held := call(t, s, api.QueueMessages, api.QueueRequest{Domain: "held.test"})
	if len(held) != 1 {
		t.Fatalf("%d messages are held", len(held))
	}
	for _, text := range [][]byte{mx.Messages()[n].Body, call(t, s, api.QueueShow, api.MessageRequest{ID: string(held[0].ID), Body: true}).Body} {
		if first, rest, _ := strings.Cut(string(text), "From: "); strings.Contains(string(text), "DKIM-Signature") || !strings.HasPrefix(first, "Received: ") || "From: "+rest != messages[0] {
			t.Errorf("what passes through is %q", text)
		}
	}

	_, secret, _ := strings.Cut(own.Secret(), " ")
	for name, text := range map[string]string{
		"an export":         string(call(t, s, api.MbExport, api.ExportRequest{Path: "/LM"}).XML),
		"domain dkim":       runCommand(t, s, "", "--json", "domain", "dkim", "1", "hub.test"),
		"mb show":           runCommand(t, s, "", "mb", "show", "SMTPSVC/1/Domain/hub.test"),
		"the service's log": s.Log(),
	} {
		if strings.Contains(text, secret) || strings.Contains(text, secret[:20]) {
			t.Errorf("%s has a private key", name)
		}
	}
}

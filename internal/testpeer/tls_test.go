// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// openssl connects by openssl s_client with the options, says QUIT, and gives what
// it prints of the connection; ok if there was a handshake.
func openssl(t *testing.T, addr string, implicit bool, options ...string) (out string, ok bool) {
	t.Helper()
	args := []string{"s_client", "-connect", addr, "-brief"}
	if !implicit {
		args = append(args, "-starttls", "smtp")
	}
	code, out := runProgram(t, "QUIT\r\n", "openssl", append(args, options...)...)
	return out, code == 0 && strings.Contains(out, "CONNECTION ESTABLISHED")
}

// words are the arguments in one text.
func words(text string) []string { return strings.Fields(text) }

// Callers of each kind can use TLS of a fresh set-up, by STARTTLS and from the
// first octet.
func TestOpensslAtAFreshSetUp(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	s := startService(t)
	secure := openListener(t, s, "SecureBindings")
	for _, tt := range []struct{ options, want string }{
		{"", "Protocol version: TLSv1.3"},
		{"-tls1_3 -sigalgs RSA-PSS+SHA256", "Signature type: RSA-PSS"},
		{"-tls1_2", "Signature type: ECDSA"},
		{"-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "Ciphersuite: ECDHE-RSA-AES128-GCM-SHA256"},
		{"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "Ciphersuite: ECDHE-ECDSA-AES256-GCM-SHA384"},
		{"-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256 -servername other.test", "Ciphersuite: ECDHE-RSA-AES128-GCM-SHA256"},
		{"-tls1_2 -cipher AES128-SHA:@SECLEVEL=0", ""},
		{"-tls1_1 -cipher ALL:@SECLEVEL=0", ""},
		{"-tls1 -cipher ALL:@SECLEVEL=0", ""},
	} {
		for implicit, addr := range map[bool]string{false: s.Addr(1), true: secure} {
			out, ok := openssl(t, addr, implicit, words(tt.options)...)
			if ok != (tt.want != "") || !regexp.MustCompile(`(?im)`+tt.want).MatchString(out) {
				t.Errorf("openssl s_client %s, implicit %v: want %q:\n%s", tt.options, implicit, tt.want, out)
			}
		}
	}
}

// TlsOldDevices lets in what is refused before and after, and nothing but that
// changes; TlsMinVersion keeps out TLS 1.2.
func TestOpensslAsAnOldDevice(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	s := startService(t)
	secure := openListener(t, s, "SecureBindings")
	device := []string{
		"-tls1 -cipher ALL:@SECLEVEL=0", "-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1 -cipher AES128-SHA:@SECLEVEL=0",
		"-tls1_2 -cipher AES128-SHA:@SECLEVEL=0", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256:@SECLEVEL=0",
		"-tls1_2 -cipher ALL:@SECLEVEL=0 -sigalgs RSA+SHA1", "-tls1_2 -cipher AES128-GCM-SHA256",
	}
	check := func(setting string, options string, want bool) {
		for implicit, addr := range map[bool]string{false: s.Addr(1), true: secure} {
			if out, ok := openssl(t, addr, implicit, words(options)...); ok != want {
				t.Errorf("%s: openssl s_client %s, implicit %v: %v\n%s", setting, options, implicit, ok, out)
			}
		}
	}
	for _, on := range []bool{false, true, false} {
		set(t, s, "TlsOldDevices", fmt.Sprint(on))
		for _, options := range device {
			check(fmt.Sprintf("TlsOldDevices %v", on), options, on)
		}
		check("whatever TlsOldDevices says", "-tls1_2", true)
		check("whatever TlsOldDevices says", "-tls1_3", true)
	}
	set(t, s, "TlsMinVersion", "tls1.3")
	check("TlsMinVersion tls1.3", "-tls1_2", false)
	check("TlsMinVersion tls1.3", "-tls1_3", true)
	_, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1", "TlsMinVersion", "tls1.1")
	if want := `/LM/SMTPSVC/1: TlsMinVersion: "tls1.1" is none of`; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

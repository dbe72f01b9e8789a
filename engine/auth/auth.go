// SPDX-License-Identifier: Apache-2.0

// Package auth verifies where a message comes from: by SPF (RFC 7208), DKIM
// (RFC 6376) and DMARC (RFC 7489), and says what it found in an
// Authentication-Results field (RFC 8601). It signs messages by DKIM.
//
// What cannot be looked up is temperror, and never a reason to refuse: mail is not
// lost by a fault of DNS. The package reads the message as a stream, and keeps no
// more of it than the header.
package auth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/authres"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"

	"restante/engine/mail"
)

const (
	timeout       = 20 * time.Second // RFC 7208 §4.6.4 asks for 20 s at least
	maxHeader     = 256 << 10
	maxSignatures = 5
)

// DNS finds records, with the errors of [net.Resolver].
type DNS interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// A Message is what is verified.
type Message struct {
	Client netip.Addr
	Helo   string
	From   mail.Address     // of MAIL
	Open   func() io.Reader // the message, from its beginning
}

// A Verdict is what was found.
type Verdict struct {
	Field  string      // the Authentication-Results field, with its line end
	Reject mail.Domain // whose DMARC record asks that the message be refused; "": nobody's
	Nobody bool        // no author can be told, for whom there could be a record
}

// Verify verifies a message that the host of that name has received. It takes 20
// seconds at most.
func Verify(ctx context.Context, host string, dns DNS, m Message) Verdict {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bySPF := make(chan *authres.SPFResult, 1)
	go func() { bySPF <- checkSPF(ctx, dns, m) }()
	who, err := authorsOf(m.Open())
	records := findRecords(ctx, dns, who.domains)
	signatures := checkDKIM(ctx, dns, m.Open())
	sender := <-bySPF
	results := []authres.Result{sender}
	for _, s := range signatures {
		results = append(results, s)
	}
	v := Verdict{Nobody: len(who.domains) == 0 && (err == nil || errors.Is(err, errHeader))}
	by := &authres.DMARCResult{Value: authres.ResultPermError}
	for i, author := range who.domains {
		d, reject := checkDMARC(<-records[i], author, sender, signatures)
		if reject && v.Reject == "" {
			v.Reject = author
		}
		if who.strict {
			by = d
		}
	}
	results = append(results, by)
	v.Field = "Authentication-Results: " + strings.ReplaceAll(authres.Format(host, results), "; ", ";\r\n\t") + "\r\n"
	return v
}

// checkSPF checks the domain of MAIL, of HELO where that is the null sender.
func checkSPF(ctx context.Context, dns DNS, m Message) *authres.SPFResult {
	r := &authres.SPFResult{From: string(m.From.Domain)}
	sender := m.From.String()
	if m.From.IsNull() {
		helo, err := mail.ParseDomain(m.Helo)
		if _, literal := helo.Literal(); err != nil || literal {
			r.Value = authres.ResultNone
			return r
		}
		r.Helo, sender = string(helo), "postmaster@"+string(helo)
	}
	result, _ := spf.CheckHostWithSender(m.Client.Unmap().AsSlice(), m.Helo, sender, spf.WithContext(ctx), spf.WithResolver(dns))
	r.Value = authres.ResultValue(result)
	if ctx.Err() != nil {
		r.Value = authres.ResultTempError
	}
	return r
}

// checkDKIM gives a result for each signature, or one that there is none.
func checkDKIM(ctx context.Context, dns DNS, message io.Reader) (out []*authres.DKIMResult) {
	none := []*authres.DKIMResult{{Value: authres.ResultNone}}
	in := bufio.NewReaderSize(message, 32<<10)
	head, err := readHeader(in)
	if err != nil {
		return []*authres.DKIMResult{{Value: authres.ResultPermError}}
	}
	if !hasSignature(head) {
		return none
	}
	found, err := dkim.VerifyWithOptions(io.MultiReader(bytes.NewReader(head), in), &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return dns.LookupTXT(ctx, name) },
		MaxVerifications: maxSignatures,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return []*authres.DKIMResult{{Value: authres.ResultTempError}} // of reading
	}
	for _, f := range found {
		r := &authres.DKIMResult{Value: authres.ResultPass}
		if d, err := mail.ParseDomain(f.Domain); err == nil { // nothing else of the sender's enters our field
			r.Domain = string(d)
		}
		switch {
		case f.Err == nil && r.Domain == "", dkim.IsPermFail(f.Err):
			r.Value = authres.ResultPermError
		case dkim.IsTempFail(f.Err):
			r.Value = authres.ResultTempError
		case f.Err != nil:
			r.Value = authres.ResultFail
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return none
	}
	return out
}

func hasSignature(head []byte) bool {
	for line := range bytes.Lines(head) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(strings.TrimRight(string(name), " \t"), "DKIM-Signature") {
			return true
		}
	}
	return false
}

var errHeader = errors.New("the header has no end, or is too long")

// readHeader reads to the empty line behind the header, which it includes.
func readHeader(in *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := in.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case len(head) > maxHeader:
			return nil, errHeader
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF): // a header without a body
			return append(head, "\r\n\r\n"...), nil
		case err != nil:
			return nil, err
		}
		if bytes.HasSuffix(head, []byte("\n\r\n")) || bytes.Equal(head, []byte("\r\n")) {
			return head, nil
		}
	}
}

// checkDMARC reports also whether the message is to be refused.
func checkDMARC(r policyRecord, author mail.Domain, sender *authres.SPFResult, signatures []*authres.DKIMResult) (*authres.DMARCResult, bool) {
	out := &authres.DMARCResult{Value: authres.ResultNone, From: string(author)}
	record := r.Record
	switch {
	case errors.Is(r.err, dmarc.ErrNoPolicy):
		return out, false
	case r.late, dmarc.IsTempFail(r.err):
		out.Value = authres.ResultTempError
		return out, false
	case r.err != nil:
		out.Value = authres.ResultPermError
		return out, false
	}
	later := false // an aligned check could not be made
	check := func(domain string, value authres.ResultValue, mode dmarc.AlignmentMode) bool {
		if !aligned(domain, string(author), mode) {
			return false
		}
		later = later || value == authres.ResultTempError
		return value == authres.ResultPass
	}
	if check(sender.From+sender.Helo, sender.Value, record.SPFAlignment) {
		out.Value = authres.ResultPass
		return out, false
	}
	for _, s := range signatures {
		if check(s.Domain, s.Value, record.DKIMAlignment) {
			out.Value = authres.ResultPass
			return out, false
		}
	}
	if later {
		out.Value = authres.ResultTempError
		return out, false
	}
	out.Value = authres.ResultFail
	policy := record.Policy
	if r.inherited && record.SubdomainPolicy != "" {
		policy = record.SubdomainPolicy
	}
	sampled := record.Percent == nil || rand.IntN(100) < *record.Percent
	return out, policy == dmarc.PolicyReject && sampled
}

// A policyRecord is the record of an author's domain, or of its organization's.
type policyRecord struct {
	*dmarc.Record
	inherited bool // of the organization's
	err       error
	late      bool // it was not answered in time
}

// findRecords looks all of them up at once, and while SPF and DKIM are checked: the
// names that a sender chose have servers of its own, which could be so slow that no
// time is left for those of others.
func findRecords(ctx context.Context, dns DNS, authors []mail.Domain) []chan policyRecord {
	var out []chan policyRecord
	for _, author := range authors {
		c := make(chan policyRecord, 1)
		out = append(out, c)
		go func() {
			r := findRecord(ctx, dns, string(author))
			r.late = r.err != nil && ctx.Err() != nil
			c <- r
		}()
	}
	return out
}

func findRecord(ctx context.Context, dns DNS, author string) policyRecord {
	opts := &dmarc.LookupOptions{LookupTXT: func(name string) ([]string, error) { return dns.LookupTXT(ctx, name) }}
	r, err := dmarc.LookupWithOptions(author, opts)
	org := organization(author)
	if !errors.Is(err, dmarc.ErrNoPolicy) || org == author {
		return policyRecord{Record: r, err: err}
	}
	r, err = dmarc.LookupWithOptions(org, opts)
	return policyRecord{Record: r, inherited: true, err: err}
}

// aligned says that a domain that was verified may speak for the author's.
func aligned(domain, author string, mode dmarc.AlignmentMode) bool {
	if domain == "" {
		return false
	}
	domain, author = strings.ToLower(domain), strings.ToLower(author)
	return domain == author || mode == dmarc.AlignmentRelaxed && organization(domain) == organization(author)
}

// organization is the domain below a public suffix (RFC 7489 §3.2).
func organization(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

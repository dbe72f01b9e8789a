// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/engine/mail"
)

const toData = "EHLO x.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"

// decoded is a plain model of DATA's decoding: what the body is, up to the end
// mark; whether it has lone CRs or LFs; how many octets are left behind it. Ok
// is false without an end mark.
func decoded(s string) (body string, bare bool, left int, ok bool) {
	var b strings.Builder
	bol, bareBOL := true, false
	for i := 0; i < len(s); {
		switch {
		case bol && !bareBOL && strings.HasPrefix(s[i:], ".\r\n"):
			return b.String(), bare, len(s) - i - 3, true
		case bol && s[i] == '.' && !(bareBOL && i+1 < len(s) && (s[i+1] == '\r' || s[i+1] == '\n')):
			bol = false
			i++
		case strings.HasPrefix(s[i:], "\r\n"):
			b.WriteString("\r\n")
			bol, bareBOL = true, false
			i += 2
		case s[i] == '\r' || s[i] == '\n':
			b.WriteString("\r\n")
			bare, bol, bareBOL = true, true, true
			i++
		default:
			b.WriteByte(s[i])
			bol = false
			i++
		}
	}
	return "", false, 0, false
}

// stuffed is a plain model of its counterpart, for a body that ends in CRLF.
func stuffed(body string) string {
	body = strings.ReplaceAll("\r\n"+body, "\r\n.", "\r\n..")
	return body[2:] + ".\r\n"
}

// talkTo lets one caller say in, cut into segments by rnd, and gives the
// replies and the Session. The caller reads all the while and then hangs up.
func talkTo(t testing.TB, cfg Config, in string, rnd *rand.Rand) (string, *fake) {
	t.Helper()
	srv := NewServer(slog.New(slog.DiscardHandler))
	ours, theirs := net.Pipe()
	var f *fake
	var all sync.WaitGroup
	all.Go(func() {
		srv.Serve(context.Background(), theirs, cfg, func(c *Caller) Session {
			f = &fake{caller: c}
			return f
		})
	})
	var out bytes.Buffer
	all.Go(func() { io.Copy(&out, ours) })
	for len(in) > 0 {
		n := len(in)
		if rnd != nil && n > 1 {
			n = 1 + rnd.IntN(min(n, 1+rnd.IntN(200)))
		}
		ours.SetWriteDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(ours, in[:n]); err != nil {
			break // it hung up on us
		}
		in = in[n:]
	}
	// What was said is answered before the end is seen.
	ours.SetWriteDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(ours, "QUIT\r\n")
	all.Wait()
	ours.Close()
	if f.closed != 1 {
		t.Errorf("the Session was closed %d times", f.closed)
	}
	return out.String(), f
}

func TestBodies(t *testing.T) {
	tests := []struct {
		wire   string
		strict string // the body, or the reply when it is refused
		loose  string // the same with AcceptBareLF
	}{
		{".\r\n", "", ""},
		{"\r\n.\r\n", "\r\n", "\r\n"},
		{"a\r\n..\r\n...b\r\n.c\r\n.\r\n", "a\r\n.\r\n..b\r\nc\r\n", "a\r\n.\r\n..b\r\nc\r\n"},
		{"TURN\r\nQUIT\r\n.\r\n", "TURN\r\nQUIT\r\n", "TURN\r\nQUIT\r\n"},
		{"\x00\xff\x80\r\n.\r\n", "\x00\xff\x80\r\n", "\x00\xff\x80\r\n"},

		// None of these is the end, whatever others take them for.
		{"a\n.\nMAIL\r\n.\r\n", "550", "a\r\n.\r\nMAIL\r\n"},
		{"a\n.\r\nMAIL\r\n.\r\n", "550", "a\r\n.\r\nMAIL\r\n"},
		{"a\r\n.\nMAIL\r\n.\r\n", "550", "a\r\n\r\nMAIL\r\n"},
		{"a\r.\rMAIL\r\n.\r\n", "550", "a\r\n.\r\nMAIL\r\n"},
		{"a\r\n.\rMAIL\r\n.\r\n", "550", "a\r\n\r\nMAIL\r\n"},
		{"a\r.\r\nMAIL\r\n.\r\n", "550", "a\r\n.\r\nMAIL\r\n"},
		{"a\r\n\x00.\r\nMAIL\r\n.\r\n", "a\r\n\x00.\r\nMAIL\r\n", "a\r\n\x00.\r\nMAIL\r\n"},
		// Behind a lone CR or LF a dot is stuffed, too.
		{"one\n..two\r\n.\r\n", "550", "one\r\n.two\r\n"},
		{"one\r..two\r\n.\r\n", "550", "one\r\n.two\r\n"},
		{"one\n..\r\n.\r\n", "550", "one\r\n.\r\n"},
		{"one\n..\n..\n.\r\n.\r\n", "550", "one\r\n.\r\n.\r\n.\r\n"},
		// And this is.
		{"a\r\r\n.\r\n", "550", "a\r\n\r\n"},
	}
	for _, tt := range tests {
		for _, loose := range []bool{false, true} {
			cfg, want := config(), tt.strict
			if cfg.AcceptBareLF = loose; loose {
				want = tt.loose
			}
			for cut := range 3 {
				var rnd *rand.Rand
				if cut > 0 {
					rnd = rand.New(rand.NewPCG(uint64(cut), 1))
				}
				out, f := talkTo(t, cfg, toData+tt.wire, rnd)
				_, after, _ := strings.Cut(out, "\r\n354 ")
				_, after, _ = strings.Cut(after, "\r\n")
				if want == "550" {
					if !strings.HasPrefix(after, "550 5.6.0 ") || len(f.bodies) > 0 {
						t.Errorf("%q: %q, bodies %q", tt.wire, after, f.bodies)
					}
				} else if !strings.HasPrefix(after, "250 2.0.0 queued as m1") || len(f.bodies) != 1 || f.bodies[0] != want {
					t.Errorf("%q, loose %v: %q, bodies %q; want %q", tt.wire, loose, after, f.bodies, want)
				}
				if !endsWell(after, want == "550") {
					t.Errorf("%q: out of step: %q", tt.wire, after)
				}
			}
		}
	}
}

// endsWell reports whether one more reply follows that to the message: 221 to
// QUIT, or 421 where a bare CR or LF was refused.
func endsWell(replies string, bare bool) bool {
	last := "\r\n221 "
	if bare {
		last = "\r\n421 4.7.0 "
	}
	return strings.Count(replies, "\r\n") == 2 && strings.Contains(replies, last)
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{"", "a\r\n", ".\r\n..\r\n", "a\n.\r\nb", "\r\r\n\n.", "..", ".\r", strings.Repeat("x.\r\n.", 50)} {
		f.Add([]byte(s), uint64(1), false)
		f.Add([]byte(s), uint64(2), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, loose bool) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		// As it stands on the wire, whatever it is.
		checkBody(t, string(b)+"\r\n.\r\n", rnd, loose)
		// As an honest sender's message: it comes out as it went in.
		body := string(b) + "\r\n"
		if _, bare, left, _ := decoded(stuffed(body)); left != 0 {
			t.Fatalf("the models differ: %q", body)
		} else if out, ses := talkTo(t, config(), toData+stuffed(body), rnd); !bare && (len(ses.bodies) != 1 || ses.bodies[0] != body) {
			t.Errorf("%q comes out as %q: %q", body, ses.bodies, out)
		}
	})
}

// checkBody compares what the server takes out of wire with the model.
func checkBody(t *testing.T, wire string, rnd *rand.Rand, loose bool) {
	want, bare, left, _ := decoded(wire)
	cfg := config()
	cfg.AcceptBareLF = loose
	// What stands behind the end mark is commands, and no concern here.
	out, ses := talkTo(t, cfg, toData+wire[:len(wire)-left], rnd)
	_, after, _ := strings.Cut(out, "\r\n354 ")
	_, after, _ = strings.Cut(after, "\r\n")
	code := "250"
	if bare && !loose {
		code = "550"
	} else if len(ses.bodies) != 1 || ses.bodies[0] != want {
		t.Errorf("%q: bodies %q, want %q", wire, ses.bodies, want)
	}
	if !strings.HasPrefix(after, code) || !endsWell(after, code == "550") {
		t.Errorf("%q: out of step: %q", wire, after)
	}
}

// Random bodies over the octets that matter, in both policies.
func TestRandomBodies(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		b := make([]byte, rnd.IntN(20))
		for i := range b {
			b[i] = "a.\r\n\r\n"[rnd.IntN(6)]
		}
		checkBody(t, string(b)+"\r\n.\r\n", rnd, rnd.IntN(2) == 0)
	}
}

// The same octets in chunks, cut anywhere, give the same message.
func TestRandomChunks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		b := make([]byte, rnd.IntN(20))
		for i := range b {
			b[i] = "a.\r\n\r\n"[rnd.IntN(6)]
		}
		cfg := config()
		cfg.AcceptBareLF = rnd.IntN(2) == 0
		var in strings.Builder
		envelope, binary := strings.TrimSuffix(toData, "DATA\r\n"), rnd.IntN(3) == 0
		if binary {
			envelope = strings.Replace(envelope, "<a@x.test>", "<a@x.test> BODY=BINARYMIME", 1)
		}
		in.WriteString(envelope)
		rest := b
		for {
			n := rnd.IntN(len(rest) + 1)
			if rnd.IntN(3) == 0 {
				n = len(rest)
			}
			if n == len(rest) {
				in.WriteString(chunkLine(n, " LAST") + string(rest))
				break
			}
			in.WriteString(chunkLine(n, "") + string(rest[:n]))
			rest = rest[n:]
		}
		out, f := talkTo(t, cfg, in.String(), rnd)
		// Dots mean nothing here. Every lone CR or LF becomes a line end, but in a binary
		// message, which stays as it is.
		want := normal(string(b))
		if binary {
			want = string(b)
		}
		bare := want != string(b)
		if bare && !cfg.AcceptBareLF {
			if _, after, _ := strings.Cut(out, "\r\n550 5.6.0"); len(f.bodies) != 0 || !endsWell(after, true) {
				t.Fatalf("%q: %q, %q", in.String(), out, f.bodies)
			}
			continue
		}
		if len(f.bodies) != 1 || f.bodies[0] != want {
			t.Fatalf("%q: %q, %q, want %q", in.String(), out, f.bodies, want)
		}
		if strings.Count(out, "\r\n221 ") != 1 {
			t.Fatalf("%q: out of step: %q", in.String(), out)
		}
	}
}

func chunkLine(n int, last string) string {
	return "BDAT " + string(rune('0'+n/10)) + string(rune('0'+n%10)) + last + "\r\n"
}

// A Session that reads by small pieces, or not at all, changes nothing.
func TestBodyReaders(t *testing.T) {
	wire := "ab\r\n..\r\n" + strings.Repeat("x", 100<<10) + "\r\n.\r\n"
	want, _, _, _ := decoded(wire)
	for name, read := range map[string]func(io.Reader) (string, error){
		"all": func(r io.Reader) (string, error) { b, err := io.ReadAll(r); return string(b), err },
		"copy": func(r io.Reader) (string, error) {
			var b strings.Builder
			_, err := io.Copy(&b, r)
			return b.String(), err
		},
		"octets": func(r io.Reader) (string, error) { b, err := io.ReadAll(oneByOne{r}); return string(b), err },
		"some": func(r io.Reader) (string, error) {
			io.ReadFull(r, make([]byte, 5))
			return want, nil
		},
		"none": func(io.Reader) (string, error) { return want, nil },
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			var err error
			out := serveData(t, config(), toData+wire, func(r io.Reader) mail.Reply {
				got, err = read(r)
				return mail.Reply{Code: 250, Text: "took it"}
			})
			if err != nil || got != want {
				t.Errorf("%d octets, %v", len(got), err)
			}
			if !strings.HasSuffix(out, "250 2.0.0 took it\r\n221 2.0.0 hub.test closing connection\r\n") {
				t.Errorf("%.300q", out)
			}
		})
	}
}

type oneByOne struct{ r io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

// dataFunc is a Session with a Data of its own.
type dataFunc struct {
	fake
	data func(io.Reader) mail.Reply
}

func (d *dataFunc) Data(_ context.Context, r io.Reader) mail.Reply { return d.data(r) }

func serveData(t *testing.T, cfg Config, in string, data func(io.Reader) mail.Reply) string {
	t.Helper()
	srv := NewServer(slog.New(slog.DiscardHandler))
	ours, theirs := net.Pipe()
	var out bytes.Buffer
	var all sync.WaitGroup
	all.Go(func() {
		srv.Serve(context.Background(), theirs, cfg, func(c *Caller) Session {
			return &dataFunc{fake: fake{caller: c}, data: data}
		})
	})
	all.Go(func() { io.Copy(&out, ours) })
	io.WriteString(ours, in+"QUIT\r\n")
	all.Wait()
	ours.Close()
	return out.String()
}

// A refusal before the end of a chunked message is the reply to that chunk.
func TestChunksRefusedEarly(t *testing.T) {
	in := strings.TrimSuffix(toData, "DATA\r\n") + "BDAT 5\r\nabcdeBDAT 5\r\nabcdeBDAT 1 LAST\r\nxRSET\r\n"
	out := serveData(t, config(), in, func(r io.Reader) mail.Reply {
		io.ReadFull(r, make([]byte, 6))
		return mail.Reply{Code: 452, Enhanced: "3.1", Text: "no room"}
	})
	if !strings.Contains(out, "5 octets received\r\n452 4.3.1 no room\r\n503 5.5.1 Need MAIL command\r\n250 2.0.0 OK\r\n221 ") {
		t.Errorf("%q", out)
	}
}

// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-sasl"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// null takes everything and keeps nothing.
type null struct{}

func (null) Mail(context.Context, params.Mail) mail.Reply { return okReply }
func (null) Rcpt(context.Context, params.Rcpt) mail.Reply { return okReply }
func (null) Data(_ context.Context, r io.Reader) mail.Reply {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return mail.Reply{Code: 451}
	}
	return okReply
}
func (null) Reset()                                              {}
func (null) Close()                                              {}
func (null) Hello(context.Context, string, bool) mail.Reply      { return okReply }
func (null) Permit(context.Context, string, bool) mail.Reply     { return okReply }
func (null) Refused(context.Context, string, string, mail.Reply) {}
func (null) Mechanisms() []string                                { return nil }
func (null) Auth(context.Context, string) (sasl.Server, error)   { return nil, errNoCallback }
func (null) Recipients(context.Context, string) mail.Reply       { return okReply }
func (null) Etrn(context.Context, string) mail.Reply             { return okReply }
func (null) Turn(context.Context, bool, []mail.Domain) (mail.Reply, Handover) {
	return okReply, nil
}

// nullHost serves null Sessions until the benchmark ends.
func nullHost(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := NewServer(slog.New(slog.DiscardHandler))
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { srv.Serve(context.Background(), nc, config(), func(*Caller) Session { return null{} }) })
		}
	})
	b.Cleanup(func() { l.Close(); srv.Close(); all.Wait() })
	return l.Addr().String()
}

// caller is a connection that has said EHLO.
func caller(b testing.TB, addr string) (net.Conn, *bufio.Reader) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReader(nc)
	io.WriteString(nc, hello+"\r\n")
	expectReplies(b, r, 2)
	return nc, r
}

func expectReplies(b testing.TB, r *bufio.Reader, n int) {
	for n > 0 {
		line, err := r.ReadSlice('\n')
		if err != nil || line[0] > '3' {
			b.Errorf("%q, %v", line, err)
			return
		}
		if line[3] == ' ' {
			n--
		}
	}
}

// BenchmarkServer has 8 callers that send messages over kept connections.
func BenchmarkServer(b *testing.B) {
	const envelope = "MAIL FROM:<a@x.test> SIZE=1000\r\nRCPT TO:<b@y.test>\r\nDATA\r\n"
	for _, size := range []int{1 << 10, 100 << 10} {
		body := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78) + ".\r\n")
		lines := bytes.SplitAfter([]byte(envelope), []byte("\n"))[:3]
		for _, way := range []string{"sequential", "pipelined", "BDAT"} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, way), func(b *testing.B) {
				addr := nullHost(b)
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				for range 8 {
					nc, r := caller(b, addr)
					all.Go(func() {
						defer nc.Close()
						chunk := append(fmt.Appendf(nil, "%sBDAT %d LAST\r\n", strings.TrimSuffix(envelope, "DATA\r\n"), len(body)), body...)
						for left.Add(-1) >= 0 && !b.Failed() {
							switch way {
							case "BDAT":
								nc.Write(chunk)
								expectReplies(b, r, 3)
								continue
							case "pipelined":
								nc.Write([]byte(envelope))
								expectReplies(b, r, 3)
							default:
								for _, line := range lines {
									nc.Write(line)
									expectReplies(b, r, 1)
								}
							}
							nc.Write(body)
							expectReplies(b, r, 1)
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// BenchmarkBothEnds is our client against our server, one conversation.
func BenchmarkBothEnds(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78)
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			nc, err := net.Dial("tcp", nullHost(b))
			if err != nil {
				b.Fatal(err)
			}
			c, err := NewClient(b.Context(), nc, ClientOptions{Hello: "me.test"})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if r, err := c.Send(b.Context(), message(body, "b")); err != nil || r[0].Code != 250 {
					b.Fatal(r, err)
				}
			}
			if err := c.Quit(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkIdle tells what a caller costs that says nothing after EHLO.
func BenchmarkIdle(b *testing.B) {
	addr := nullHost(b)
	const n = 1000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var conns []net.Conn
		for range n {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			r := bufio.NewReaderSize(nc, 256)
			io.WriteString(nc, hello+"\r\n")
			expectReplies(b, r, 2)
			conns = append(conns, nc)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/n, "B/caller")
		for _, nc := range conns {
			nc.Close()
		}
	}
}

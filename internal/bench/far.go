// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"restante/internal/testpeer"
)

// roundTrip is that of the line of measureFar.
const roundTrip = 600 * time.Millisecond

// measureFar measures messages per second of 2 KiB, from the first to the last, that one TURN
// hands over on a line with a long round trip, to hosts that offer PIPELINING, and CHUNKING, too.
func measureFar(ctx context.Context, o options, r *report) error {
	binaries, sides := []string{o.restante}, []string{"restante"} // Postfix knows no TURN
	if o.against != "" {
		binaries, sides = append(binaries, o.against), append(sides, "against")
	}
	for _, host := range []struct {
		offers   string
		chunking bool
		held     int
	}{{"CHUNKING and PIPELINING", true, 600}, {"PIPELINING", false, 10}} {
		f := &figure{Name: fmt.Sprintf("%v round trip, 2 KiB, a host with %s", roundTrip, host.offers), Unit: "messages/s", More: true}
		err := inTurns(1, f, sides, func(i int) (float64, error) {
			return turnFar(ctx, o, binaries[i], host.chunking, host.held)
		})
		if err != nil {
			return err
		}
		if err := r.figure(f); err != nil {
			return err
		}
	}
	return nil
}

func turnFar(ctx context.Context, o options, binary string, chunking bool, held int) (float64, error) {
	s, err := startRestante(ctx, o, binary)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	if _, err := load(ctx, s.Addr(1), 2, 2<<10, 0, int64(held-2)); err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", s.Addr(1))
		if err != nil {
			near.Close()
			return
		}
		testpeer.Carry(near, server, roundTrip/2)
	}()
	c, err := dial(l.Addr().String())
	if err != nil {
		return 0, err
	}
	c.Chunking = chunking
	var first, last time.Time
	_, err = takeByTurn(c, held, func(testpeer.Received) error {
		if last = time.Now(); first.IsZero() {
			first = last
		}
		return nil
	})
	return float64(held-1) / last.Sub(first).Seconds(), err
}

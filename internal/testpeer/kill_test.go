// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// TestKillDuringMail ends the service with SIGKILL under the load of eight senders,
// in many rounds. Afterwards each message with a 250 is held or in the Drop folder,
// and none is damaged.
func TestKillDuringMail(t *testing.T) {
	t.Parallel()
	rounds := testpeer.Rounds(2, 8, 200)
	seed := rand.Uint64()
	t.Logf("seed %d, %d rounds", seed, rounds)
	rnd := rand.New(rand.NewPCG(seed, 0))

	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	acked := &messageSet{ids: map[string]bool{}}
	for range rounds {
		var senders sync.WaitGroup
		for i := range 8 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
			senders.Go(func() { acked.sendUntilKilled(s.Addr(1), i, own) })
		}
		<-time.After(time.Duration(20+rnd.IntN(400)) * time.Millisecond) // the random moment
		s.Kill()
		senders.Wait()
		if err := s.Start(t.Context()); err != nil {
			t.Fatalf("after a kill: %v", err)
		}
	}
	found := &messageSet{ids: map[string]bool{}}
	collectHeld(t, s, found)
	await(t, "local mail is in the Drop folder", func() bool {
		found.collectDropped(t, filepath.Join(s.Data, "Mailroot", "Drop"))
		return acked.countMissing(found) == 0
	})
	t.Logf("acknowledged %d, found %d (%d more than once), damaged %d",
		len(acked.ids), len(found.ids), found.repeated, found.damaged)
	if len(acked.ids) == 0 {
		t.Error("no message was acknowledged: the test proves nothing")
	}
	if found.damaged != 0 {
		t.Errorf("%d messages are damaged", found.damaged)
	}
	if found.heldRepeated != 0 {
		t.Errorf("%d held messages were handed over more than once", found.heldRepeated)
	}
}

// A messageSet holds the checksums of messages.
type messageSet struct {
	mu           sync.Mutex // guards what follows
	ids          map[string]bool
	repeated     int
	heldRepeated int
	damaged      int
}

// checksummed makes a message whose Subject is the sum of its body.
func checksummed(to string, rnd *rand.Rand) (id string, octets []byte) {
	size := 100 + rnd.IntN(20_000)
	switch rnd.IntN(50) {
	case 0:
		size = 1_500_000 // large enough for a file of its own
	case 1, 2:
		size = 200_000
	}
	body := make([]byte, 0, size+80)
	for len(body) < size {
		body = fmt.Appendf(body, "%016x.%016x\r\n", rnd.Uint64(), rnd.Uint64())
	}
	sum := sha256.Sum256(body)
	id = hex.EncodeToString(sum[:])
	head := fmt.Sprintf("From: <a@sender.test>\r\nTo: <%s>\r\nSubject: %s\r\n\r\n", to, id)
	return id, append([]byte(head), body...)
}

// sendUntilKilled sends until the connection breaks, and adds each message that got
// its 250.
func (k *messageSet) sendUntilKilled(addr string, i int, rnd *rand.Rand) {
	l, err := testpeer.Dial(addr)
	if err != nil {
		return
	}
	defer l.Close()
	to := "someone@held.test"
	if i%4 == 3 {
		to = "someone@hub.test"
	}
	for {
		id, m := checksummed(to, rnd)
		if err := l.Send("a@sender.test", to, testpeer.DotStuff(m)); err != nil {
			return
		}
		k.mu.Lock()
		k.ids[id] = true
		k.mu.Unlock()
	}
}

var subjectSum = regexp.MustCompile(`(?m)^Subject: ([0-9a-f]{64})\r$`)

// add verifies the checksum of one message that was found.
func (k *messageSet) add(m []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := subjectSum.FindSubmatch(m)
	_, body, whole := bytes.Cut(m, []byte("\r\n\r\n"))
	sum := sha256.Sum256(body)
	if found == nil || !whole || string(found[1]) != hex.EncodeToString(sum[:]) {
		k.damaged++
		return
	}
	if k.ids[string(found[1])] {
		k.repeated++
	}
	k.ids[string(found[1])] = true
}

func (k *messageSet) countMissing(found *messageSet) (n int) {
	for id := range k.ids {
		if !found.ids[id] {
			n++
		}
	}
	return n
}

// collectHeld collects all held mail by TURN.
func collectHeld(t *testing.T, s *testpeer.Service, found *messageSet) {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SignIn(account, password); err != nil {
		t.Fatal(err)
	}
	if err := l.Say("TURN", "250"); err != nil {
		t.Fatal(err)
	}
	if err := l.Receive(func(m testpeer.Received) error { found.add(m.Data); return nil }); err != nil {
		t.Fatal(err)
	}
	found.heldRepeated = found.repeated
}

// collectDropped adds each file once. A file that is still being written has
// another name.
func (k *messageSet) collectDropped(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		m, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		k.add(m)
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

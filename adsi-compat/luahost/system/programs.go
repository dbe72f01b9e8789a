// SPDX-License-Identifier: Apache-2.0

package system

import (
	"errors"
	"os/exec"
	"slices"
	"sync"

	"restante/internal/procgroup"
)

// Programs are those that one script has started. Each has a process group of its
// own, where the system has them, so that what a program has started ends with
// the script, too. The zero value is ready.
type Programs struct {
	mu     sync.Mutex // guards what follows
	groups []int
	ended  bool
}

var errEnded = errors.New("the script has ended")

// start starts a program. One that shares the terminal stays in the command's
// group: the system stops a program of another group that reads from it.
func (p *Programs) start(cmd *exec.Cmd, terminal bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return errEnded
	}
	grouped := !terminal && procgroup.Set(cmd)
	if err := cmd.Start(); err != nil || !grouped {
		return err
	}
	p.groups = append(p.groups, cmd.Process.Pid)
	return nil
}

// wait returns the number with which a program has ended. Others of its group may
// run on.
func (p *Programs) wait(cmd *exec.Cmd) (exit int, err error) {
	err = cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups = slices.DeleteFunc(p.groups, func(group int) bool { return group == cmd.Process.Pid && !procgroup.Has(group) })
	ended := (*exec.ExitError)(nil)
	switch {
	case errors.As(err, &ended):
		return ended.ExitCode(), nil
	case errors.Is(err, exec.ErrWaitDelay): // others still have its output open
		return 0, nil
	}
	return 0, err
}

// End ends all programs that still run. None can be started after it.
func (p *Programs) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for _, group := range p.groups {
		procgroup.End(group)
	}
	p.groups = nil
}

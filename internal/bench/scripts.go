// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// scriptDomains is how many domains the measured scripts make in one transaction;
// scriptKeys how many keys one walks.
const (
	scriptDomains = 1000
	scriptKeys    = 100_000
)

var benchScripts = []struct{ what, source string }{
	{"start of a script, from exec to exit", "\n"},
	{fmt.Sprintf("%d domains by one transaction", scriptDomains), `
local domains = GetObject("IIS://LocalHost/SMTPSVC/1/Domain")
transaction(function()
  for i = 1, ` + fmt.Sprint(scriptDomains) + ` do
    local d = domains:Create("IIsSmtpDomain", "made" .. arg[1] .. "-" .. i .. ".example")
    d.RouteAction = 514
    d.AuthTurnList = "account" .. i
    d:SetInfo()
  end
end)
`},
	{fmt.Sprintf("%d keys walked by a script", scriptKeys), `
local n = 0
for d in GetObject("IIS://LocalHost/SMTPSVC/1/Domain") do
  if d.RouteAction == 514 then n = n + 1 end
end
assert(n >= ` + fmt.Sprint(scriptKeys) + `, n)
`},
}

// measureScripts times scripts from the command's start to its end, against a
// running service.
func measureScripts(ctx context.Context, o options, r *report) error {
	s, err := startRestante(ctx, o, o.restante)
	if err != nil {
		return err
	}
	defer s.stop()
	for i, b := range benchScripts {
		if i == len(benchScripts)-1 {
			file := filepath.Join(o.dir, "walked.xml")
			if err := writeIISFile(file); err != nil {
				return err
			}
			if _, err := s.Run(ctx, "", "mb", "import", "--merge", file); err != nil {
				return err
			}
		}
		file := filepath.Join(o.dir, fmt.Sprintf("script%d.lua", i))
		if err := os.WriteFile(file, []byte(b.source), 0o600); err != nil {
			return err
		}
		f := &figure{Name: b.what, Unit: "ms"}
		for round := range max(o.rounds, 3) {
			begin := time.Now()
			if _, err := s.Run(ctx, "", "run", file, fmt.Sprint(round)); err != nil {
				return err
			}
			f.add("restante", float64(time.Since(begin).Microseconds())/1000)
		}
		if err := r.figure(f); err != nil {
			return err
		}
	}
	return nil
}

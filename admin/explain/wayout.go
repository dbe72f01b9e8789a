// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"strconv"
	"strings"
	"time"

	"restante/admin/api"
	"restante/engine/delivery"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/metabase"
)

// lookUpTime bounds the search for the hosts of one domain.
const lookUpTime = 20 * time.Second

// wayOut tells how the mail for a domain goes on. Hosts says whether DNS is asked; the
// servers that a change names which is not made are not.
func (st *state) wayOut(ctx context.Context, d mail.Domain, hosts bool) api.WayOut {
	out := api.WayOut{Rev: st.snap.Rev(), Past: st.past, Domain: d, Standing: st.site.Standing(d).String(), Why: []api.Reason{}}
	add := func(step string, why []settings.Reason) { out.Why = append(out.Why, st.reasons(ctx, step, why)...) }
	if domain, ok := st.site.DomainFor(d); ok {
		out.Key = domain.Name
		if domain.Standing == mail.Held {
			out.Turn, out.Etrn = domain.AuthTurnList, domain.EtrnCallers()
			add("etrn", st.site.Reasons(d, settings.EtrnAllow, settings.AuthTurnList, settings.EtrnRequireAuth))
			if len(domain.TurnRules) > 0 {
				add("turn", st.site.Reasons(d, settings.TurnRules))
			}
			off, by := settings.ReleaseVerbsOff(st.snap, st.site.Number)
			out.Off = off
			add("verbs", st.site.Reasons("", by...))
		}
	}
	r := st.site.Route(d)
	out.Route, out.Held = routeText(r), r.Held
	add("route", r.Why)
	if hosts && !st.IsTrial() {
		ctx, cancel := context.WithTimeout(ctx, lookUpTime)
		defer cancel()
		for _, s := range st.engine.NextHosts(ctx, st.site, d) {
			out.Hosts = append(out.Hosts, hostGroup(s, r.SignIn))
		}
	}
	times := st.engine.Schedule(st.site, d)
	addSchedule(&out, times)
	for _, one := range deciding(d, r, times) {
		list := st.site.Reasons(one.domain, one.ids...)
		add(one.step, list)
	}
	if !st.past && st.sees(settings.DomainPath(st.site.Number, string(d))) {
		st.addWaiting(&out, d)
	}
	return out
}

// hostGroup is a stage as an answer has it.
func hostGroup(s delivery.Stage, in *settings.RouteSignIn) api.HostGroup {
	out := api.HostGroup{By: "dns", Hosts: []api.NextHost{}}
	if s.Smart {
		out.By = "smart_host"
	}
	if s.SignIn && in != nil {
		out.SignIn = &api.SignInOut{Account: in.Name, Mechanisms: in.Mechanisms, InClear: in.InClear}
	}
	for _, h := range s.Hosts {
		one := api.NextHost{Name: h.Name, Address: h.Addr.Addr().String(), Port: h.Addr.Port(), TLS: string(h.TLS), Rule: h.Rule}
		if h.Reply.Code != 0 {
			one.Reply = h.Reply.String()
		}
		out.Hosts = append(out.Hosts, one)
	}
	if len(s.Hosts) == 0 {
		out.Outcome, out.Reply = s.Status.String(), s.Reply.String()
	}
	return out
}

func addSchedule(out *api.WayOut, s queue.Schedule) {
	for _, wait := range s.Retries {
		out.Retries = append(out.Retries, wait.Seconds())
	}
	out.DelayNotice, out.Expire = s.Notice.Seconds(), s.Expire.Seconds()
	if out.Held {
		out.HoldEnd = map[queue.End]string{queue.Return: settings.ReturnAtEnd, queue.Archive: settings.ArchiveAtEnd, queue.Keep: settings.KeepAtEnd}[s.End]
	}
}

// A decider has the properties of one step, as they hold for a domain; "" for the site.
type decider struct {
	step   string
	domain mail.Domain
	ids    []metabase.ID
}

// deciding lists the properties that the hosts, the conversation with them and the times
// go by, beside those of the route.
func deciding(d mail.Domain, r settings.Route, s queue.Schedule) (out []decider) {
	add := func(step string, at mail.Domain, ids ...metabase.ID) { out = append(out, decider{step, at, ids}) }
	if r.Way != settings.ToFolder {
		add("dns", "", settings.DnsServers, settings.NameResolutionType, settings.AllowLoopbackHosts)
		add("port", "", settings.RemoteSmtpPort, settings.RemoteSmtpSecurePort)
		add("tls", d, settings.RouteAction, settings.AlwaysUseSsl, settings.UseDane, settings.UseMtaSts)
		if r.NeedTLS {
			add("tls", "", settings.SmtpSSLRequireTrustedCA, settings.SmtpSSLCertHostnameValidation)
		}
	}
	switch {
	case r.SignIn != nil && r.SignIn.Grant != nil:
		add("sign-in", d, settings.RouteUserName, settings.RouteOauth)
	case r.SignIn != nil:
		add("sign-in", d, settings.RouteAction, settings.RouteUserName, settings.RoutePassword, settings.RouteClearTextAuth)
	}
	switch {
	case r.Held && s.End == queue.Keep:
		add("hold", d, settings.HoldEnd, settings.CallInterval)
	case r.Held:
		add("hold", d, settings.HoldEnd, settings.CallInterval)
		add("expiry", "", settings.EtrnDays, settings.SmtpRemoteNDRExpireMinutes, settings.SmtpRemoteDelayExpireMinutes)
	case r.Way == settings.ToFolder:
		add("retry", "", settings.LocalRetryInterval)
		add("expiry", "", settings.SmtpLocalNDRExpireMinutes, settings.SmtpLocalDelayExpireMinutes)
	default:
		add("retry", "", settings.SmtpRemoteRetryThreshold, settings.SmtpRemoteProgressiveRetry)
		add("expiry", "", settings.SmtpRemoteNDRExpireMinutes, settings.SmtpRemoteDelayExpireMinutes)
	}
	return out
}

// addWaiting fills in what the queue has for a domain and, for a caller who may see to the
// site's mail, the calls of its host.
func (st *state) addWaiting(e *api.WayOut, d mail.Domain) {
	if st.Engine == nil {
		return
	}
	if q, ok := st.Engine.Queue(st.site.Number); ok {
		for _, dest := range q.Destinations() {
			if dest.Domain == d {
				e.Waiting, e.State, e.NextTry, e.LastError, e.Expires = dest.Messages, string(dest.State), dest.NextTry, dest.LastError, dest.Expires
			}
		}
	}
	hold, held := st.site.HoldOf(d)
	if !held || !st.snap.Allows(st.who.Who, settings.SitePath(st.site.Number), metabase.Write) {
		return
	}
	if log, ok := st.Engine.Calls(st.site.Number); ok {
		if last := log.Last(d); last.Verb != "" {
			e.LastCall, e.NextCall = &last.Call, last.Next(hold.CallInterval)
		}
	}
}

// routeText describes a route.
func routeText(r settings.Route) string {
	var b strings.Builder
	switch r.Way {
	case settings.ToFolder:
		b.WriteString("into the folder " + r.Folder)
	case settings.BySmartHost:
		hosts := make([]string, len(r.Hosts))
		for i, h := range r.Hosts {
			hosts[i] = h.Name
			if h.Port != 0 {
				hosts[i] += ":" + strconv.Itoa(int(h.Port))
			}
		}
		b.WriteString("by the smart host " + strings.Join(hosts, ", "))
		if r.DirectFirst {
			b.WriteString(", after its own hosts")
		}
	default:
		b.WriteString("by DNS")
	}
	if r.Held {
		b.WriteString(", when its host calls")
	}
	return b.String()
}

// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"

	"restante/admin/api"
	"restante/engine/account/oauth"
	"restante/engine/settings"
	"restante/metabase"
)

// deviceGrant finds by what a domain's route signs in. The caller needs the right to
// store the token.
func (h handlers) deviceGrant(ctx context.Context, who api.Caller, q api.DomainRequest) (g oauth.Grant, from metabase.Path, what string, err error) {
	p, err := h.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return g, "", "", err
	}
	what = fmt.Sprintf("site %d: %s", q.Site, p.Base())
	if g, from, err = settings.DeviceGrant(h.Tree.Snapshot(), p); err != nil {
		return g, "", "", api.Refused(what, err.Error())
	}
	return g, from, what, h.Allow(ctx, who, from, metabase.WriteSecret)
}

// domainOauth asks the token server for a code. It changes nothing, but nobody is to sign
// in for a change that would be refused.
func (h handlers) domainOauth(ctx context.Context, who api.Caller, q api.DomainRequest) (oauth.Code, error) {
	if err := h.checkRev(ctx, who, h.Tree.Snapshot()); err != nil {
		return oauth.Code{}, err
	}
	g, _, what, err := h.deviceGrant(ctx, who, q)
	if err != nil {
		return oauth.Code{}, err
	}
	code, err := new(oauth.Tokens).Begin(ctx, g)
	if err != nil {
		return oauth.Code{}, fmt.Errorf("%s: %w", what, err)
	}
	return code, nil
}

// domainOauthWait waits until the code was typed, and stores the refresh token at the key
// that names the server. If that has changed meanwhile, nothing is stored.
func (h handlers) domainOauthWait(ctx context.Context, who api.Caller, q api.OauthWaitRequest) (api.OauthDone, error) {
	g, from, what, err := h.deviceGrant(ctx, who, q.DomainRequest)
	if err != nil {
		return api.OauthDone{}, err
	}
	token, err := new(oauth.Tokens).Wait(ctx, g, q.Code)
	if err != nil {
		return api.OauthDone{}, fmt.Errorf("%s: %w", what, err)
	}
	_, err = h.applyPlan(ctx, who, func(snap metabase.Snapshot) ([]metabase.Op, error) {
		now, _, _, err := h.deviceGrant(ctx, who, q.DomainRequest)
		if err == nil && (now.TokenURL != g.TokenURL || now.ClientID != g.ClientID) {
			err = api.Refused(what, "RouteOauth or RouteOauthClientId has changed meanwhile: give the command again")
		}
		if err != nil {
			return nil, err
		}
		w := opBuilder{schema: h.Schema, snap: snap}
		w.set(from, "RouteOauthRefreshToken", string(token))
		return w.ops, w.err
	})
	return api.OauthDone{Site: q.Site, Name: q.Name, Path: from}, err
}

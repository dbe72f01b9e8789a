// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"restante/engine/account"
	"restante/engine/account/oauth"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// grants has the tokens for the sign-in at other hosts, of all sites.
type grants struct {
	oauth.Tokens
	engine *Engine
}

// A token is that of one route. It implements account.Token.
type token struct {
	from  *grants
	grant *settings.RouteGrant
}

func (t token) Get(ctx context.Context) (string, error) {
	one, err := t.from.Token(ctx, t.grant.Grant)
	if err != nil {
		return "", err
	}
	if newer, ok := t.from.Newer(t.grant.Grant); ok {
		if err := t.from.store(ctx, t.grant, newer); err != nil { // that of today is good for long
			t.from.engine.opts.Log.WarnContext(ctx, "store a refresh token", "key", t.grant.RefreshAt, "err", err)
		}
	}
	return one, nil
}

func (t token) Refused(one string) { t.from.Refused(t.grant.Grant, one) }

// store replaces a refresh token, unless there is another one meanwhile.
func (g *grants) store(ctx context.Context, was *settings.RouteGrant, newer account.Secret) error {
	prop, _ := schema.IIS().ByID(settings.RouteOauthRefreshToken)
	for {
		snap := g.engine.tree.Snapshot()
		item, ok := snap.Stored(was.RefreshAt, prop.ID)
		if !ok || item.Value.Str() != string(was.Refresh) {
			return nil
		}
		item.Value = metabase.String(string(newer))
		_, err := g.engine.tree.Apply(ctx, metabase.Batch{
			Ops: []metabase.Op{metabase.Set{Path: was.RefreshAt, Property: item}}, IfRev: new(snap.Rev()),
			Origin: metabase.FromSystem, Comment: "a refresh token that the token server has replaced",
		})
		if !metabase.IsStale(err) || ctx.Err() != nil {
			return err
		}
	}
}

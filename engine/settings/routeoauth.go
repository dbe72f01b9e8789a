// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"net/url"
	"strings"

	"restante/engine/account"
	"restante/engine/account/oauth"
	"restante/metabase"
	"restante/metabase/schema"
)

// An oauthServer is what RouteOauth says: whose tokens we sign in with, and, of a
// provider with a name, at which host.
type oauthServer struct {
	token, device string // URLs
	scopes        []string
	clientScopes  []string // of the client's own credentials; nil: scopes
	host          []schema.Host
}

// parseRouteOauth reads microsoft365 [TENANT], google, or TOKEN-URL [DEVICE-URL].
func parseRouteOauth(text string) (o oauthServer, err error) {
	words := strings.Fields(text)
	if len(words) == 0 || len(words) > 2 {
		return o, invalid("%q is neither microsoft365 with a tenant, nor google, nor the URL of a token server and that of its device codes", text)
	}
	second := ""
	if len(words) == 2 {
		second = words[1]
	}
	switch strings.ToLower(words[0]) {
	case "microsoft365":
		if second == "" {
			second = "organizations" // the tenant of the account that signs in
		}
		if strings.ContainsAny(second, "/?#%") {
			return o, invalid("%q is no tenant: it is its ID or one of its domains, such as contoso.onmicrosoft.com", second)
		}
		base := "https://login.microsoftonline.com/" + url.PathEscape(second) + "/oauth2/v2.0/"
		return oauthServer{
			token: base + "token", device: base + "devicecode",
			scopes:       []string{"https://outlook.office.com/SMTP.Send", "offline_access"},
			clientScopes: []string{"https://outlook.office365.com/.default"},
			host:         []schema.Host{{Name: "smtp.office365.com", Port: 587, Weight: 1}},
		}, nil
	case "google":
		if second != "" {
			return o, invalid("%q: google has nothing behind it", text)
		}
		return oauthServer{
			token: "https://oauth2.googleapis.com/token", device: "https://oauth2.googleapis.com/device/code",
			scopes: []string{"https://mail.google.com/"},
			host:   []schema.Host{{Name: "smtp.gmail.com", Port: 587, Weight: 1}},
		}, nil
	}
	for _, one := range words {
		if err := oauth.CheckEndpoint(one); err != nil {
			return o, invalid("%v", err)
		}
	}
	return oauthServer{token: words[0], device: second}, nil
}

func checkRouteOauth(text string) error {
	_, err := parseRouteOauth(text)
	return err
}

// A RouteGrant is by what tokens for the sign-in of a route are got.
type RouteGrant struct {
	oauth.Grant
	From      metabase.Path // the key that stores RouteOauth
	RefreshAt metabase.Path // the key that stores the refresh token; "": none does
}

// routeGrant gives that of a route; nil where it signs in with a password.
func (r *reader) routeGrant() *RouteGrant {
	v, from, _ := r.value(RouteOauth)
	o, err := parseRouteOauth(v.Str())
	if err != nil { // none, or one that is never stored
		return nil
	}
	g := &RouteGrant{From: from, Grant: oauth.Grant{
		TokenURL: o.token, DeviceURL: o.device, ClientID: r.text(RouteOauthClientId),
		Secret: account.Secret(r.text(RouteOauthSecret)), Refresh: account.Secret(r.text(RouteOauthRefreshToken)),
	}}
	_, g.RefreshAt, _ = r.value(RouteOauthRefreshToken)
	scopes, _, _ := r.value(RouteOauthScopes)
	list := scopes.Strings()
	if len(list) == 0 {
		if list = o.scopes; g.Refresh == "" && g.Secret != "" && o.clientScopes != nil {
			list = o.clientScopes
		}
	}
	g.Scopes = strings.Join(list, " ")
	return g
}

// DeviceGrant gives the grant of a domain's route for a sign-in by device code, and the
// key that its refresh token belongs to.
func DeviceGrant(snap metabase.Snapshot, path metabase.Path) (oauth.Grant, metabase.Path, error) {
	r := newReader(snap, path)
	g := r.routeGrant()
	if g == nil {
		return oauth.Grant{}, "", errors.New("RouteOauth is not set: it says whose tokens are used, such as microsoft365")
	}
	o, _ := parseRouteOauth(r.text(RouteOauth))
	scopes, _, _ := r.value(RouteOauthScopes)
	switch {
	case g.ClientID == "":
		return oauth.Grant{}, "", errors.New("RouteOauthClientId is not set: it is the ID of the application that was registered with the provider")
	case g.DeviceURL == "":
		return oauth.Grant{}, "", errors.New("RouteOauth has no URL for device codes behind that of the token server")
	}
	if len(scopes.Strings()) == 0 { // a person signs in, not the client
		g.Scopes = strings.Join(o.scopes, " ")
	}
	return g.Grant, g.From, nil
}

// presetHosts are those of a provider with a name.
func (r *reader) presetHosts() []schema.Host {
	o, _ := parseRouteOauth(r.text(RouteOauth))
	return o.host
}

// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/metabase"
)

// A code is asked for by those who may store the token, and the words of a server that
// gives none are the error.
func TestDeviceCodesAreForThoseWhoMayStoreTheToken(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if asked.Add(1) > 1 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_scope","error_description":"Invalid device flow scope"}`))
			return
		}
		_, _ = w.Write([]byte(`{"device_code":"d","user_code":"c","verification_uri":"https://login.test","expires_in":600}`))
	}))
	defer server.Close()
	d, store := admintest.New(t, nil)
	Register(d)
	q := api.DomainRequest{Site: 1, Name: "hub.example"}
	ask := func(who api.Caller) (string, error) {
		a, _, err := api.DomainOauth.Call(t.Context(), d.Direct(who), q)
		return a.Code, err
	}
	refused := func(who api.Caller, kind api.Kind, want string) {
		t.Helper()
		if _, err := ask(who); err == nil || api.AsError(err).Kind != kind || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s: %s", err, kind, want)
		}
	}
	refused(admintest.Admin(), api.KindRefused, "RouteOauth is not set")
	var ops []metabase.Op
	for name, value := range map[string]string{"RouteOauth": server.URL + "/token " + server.URL + "/device", "RouteOauthClientId": "app"} {
		prop, _ := d.Schema.Property(name)
		ops = append(ops, metabase.Set{Path: "/LM/SMTPSVC/1", Property: prop.Item(metabase.String(value))})
	}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops, Actor: "user:boss"}); err != nil {
		t.Fatal(err)
	}
	refused(api.Caller{Who: []metabase.Principal{"user:reader"}, Origin: metabase.FromCLI}, api.KindRefused, "denied")
	if n := asked.Load(); n != 0 {
		t.Errorf("a reader had the server asked %d times", n)
	}
	if code, err := ask(admintest.Admin()); code != "c" || err != nil {
		t.Errorf("the code is %q, %v", code, err)
	}
	refused(admintest.Admin(), api.KindFailed, "says invalid_scope: Invalid device flow scope")
}

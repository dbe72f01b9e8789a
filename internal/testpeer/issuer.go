// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// An Issuer makes tokens, and gives its keys at a loopback address, as an OpenID
// Connect issuer does.
type Issuer struct {
	URL      string
	Down     atomic.Bool  // it answers 503
	Requests atomic.Int32 // for its keys

	kid int
	key *ecdsa.PrivateKey
}

// NewIssuer starts one that ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := new(Issuer)
	i.Rotate(t)
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

// Rotate replaces its key. It must not run beside a request.
func (i *Issuer) Rotate(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.key, i.kid = key, i.kid+1
}

// PublicKey is the octets of the public key, which everybody knows.
func (i *Issuer) PublicKey() []byte {
	raw, _ := i.key.PublicKey.Bytes() // P-256 has them
	return raw
}

var b64url = base64.RawURLEncoding.EncodeToString

// ServeHTTP answers as it does at its address.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case i.Down.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	default:
		i.Requests.Add(1)
		point := i.PublicKey()[1:]
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
			"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": fmt.Sprint(i.kid), "x": b64url(point[:32]), "y": b64url(point[32:]),
		}}})
	}
}

// Claims are those of a token for joe@corp.test and the audience "smtp.test", with
// changes; nil takes a claim away.
func (i *Issuer) Claims(changes map[string]any) map[string]any {
	c := map[string]any{"iss": i.URL, "aud": "smtp.test", "sub": "1", "email": "joe@corp.test", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Token is a signed token with those changes.
func (i *Issuer) Token(t testing.TB, changes map[string]any) string {
	t.Helper()
	return i.Sign(t, map[string]any{"alg": "ES256", "kid": fmt.Sprint(i.kid)}, i.Claims(changes), nil)
}

// Sign signs claims with the issuer's key or, with secret, by HMAC.
func (i *Issuer) Sign(t testing.TB, header, claims map[string]any, secret []byte) string {
	t.Helper()
	h, _ := json.Marshal(header)
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := b64url(h) + "." + b64url(c)
	if secret != nil {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + b64url(mac.Sum(nil))
	}
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + b64url(signature)
}

// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"syscall"

	"restante/admin/api"
	"restante/internal/progress"
)

// A Client is an api.Conn to a running service. Close it after use.
type Client struct {
	http *http.Client
	who  api.Caller
}

// Dial connects to the service of a data folder. The error is api.ErrNoService
// when none runs. The service takes origin and comment from who; it asks the
// system for the user.
func Dial(ctx context.Context, data string, who api.Caller) (*Client, error) {
	conn, err := dial(ctx, data)
	if err != nil {
		return nil, err
	}
	first := make(chan net.Conn, 1)
	first <- conn
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
				return dial(ctx, data)
			}
		},
	}
	return &Client{http: &http.Client{Transport: transport}, who: who}, nil
}

// Close closes the connection.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *Client) post(ctx context.Context, path string, request []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://restante"+path, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	who := c.who.For(ctx)
	for name, value := range map[string]any{headerComment: who.Comment, headerTerms: who.Terms} {
		r.Header.Set(name, headerText(value))
	}
	r.Header.Set(headerOrigin, string(who.Origin))
	if progress.From(ctx) != nil {
		r.Header.Set(headerProgress, "wanted")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, lost(ctx, err)
	}
	return resp, nil
}

// lost describes a connection that broke during a call.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, api.ErrNoService) {
		return api.ErrNoService
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = errors.New("the connection was lost")
	}
	return &api.Error{Kind: api.KindFailed, Text: fmt.Sprintf("the conversation with the service: %v", err)}
}

// withProgress takes what the service tells of a call that is under way over to m.
func withProgress(ctx context.Context, m *progress.Meter) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			var done, total int64
			if _, err := fmt.Sscanf(h.Get(headerProgress), progressForm, &done, &total); err == nil {
				m.Set(done, total)
			}
			return nil
		},
	})
}

// Call implements api.Conn.
func (c *Client) Call(ctx context.Context, method string, request []byte) (json.RawMessage, error) {
	if m := progress.From(ctx); m != nil {
		ctx = withProgress(ctx, m)
	}
	resp, err := c.post(ctx, pathCall+method, request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, lost(ctx, err)
	}
	for _, line := range resp.Header.Values(headerNote) {
		var n api.Noted
		if json.Unmarshal([]byte(line), &n) == nil {
			api.Forward(ctx, n)
		}
	}
	if resp.StatusCode == http.StatusOK {
		return body, nil
	}
	var e api.Error
	if err := json.Unmarshal(body, &e); err != nil || e.Kind == "" {
		return nil, &api.Error{Kind: api.KindFailed, Text: "the service answers " + resp.Status}
	}
	return nil, &e
}

// Stream implements api.Conn.
func (c *Client) Stream(ctx context.Context, method string, request []byte) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		resp, err := c.post(ctx, pathStream+method, request)
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		lines := json.NewDecoder(resp.Body)
		for {
			var p part
			err := lines.Decode(&p)
			if errors.Is(err, io.EOF) {
				return
			}
			switch {
			case err != nil:
				err = lost(ctx, err)
			case p.Err != nil:
				err = p.Err
			}
			if !yield(p.Part, err) || err != nil {
				return
			}
		}
	}
}

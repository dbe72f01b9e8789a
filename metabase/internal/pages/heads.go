// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"

	"restante/internal/kv"
	"restante/metabase/internal/history"
	"restante/metabase/internal/stored"
	"restante/metabase/item"
	"restante/metabase/key"
)

// Dropping returns the ops that remove the pages of list, which end before revision
// end, and keep the head of each revision that a stored property still names as its
// origin: live counts those.
func (l *Log) Dropping(ctx context.Context, list []stored.Page, end item.Rev, live *history.Live) (ops []kv.Op, err error) {
	at := l.Reader()
	for rev := list[0].First; rev < end; rev++ {
		if live.Of(rev) == 0 {
			continue
		}
		h, err := at.Entry(ctx, rev)
		if key.KindOf(err) == key.Damaged {
			continue // it has no head either
		}
		if err != nil {
			return nil, err
		}
		head := history.Entry{Record: h.Record}
		ops = append(ops, kv.Put(stored.RevKey(stored.HeadKeys, rev), head.Encode(l.Key)))
	}
	for _, p := range list {
		ops = p.Dropping(ops)
	}
	return ops, nil
}

// DroppedHead reads the head of a revision whose page was dropped.
func (l *Log) DroppedHead(rev item.Rev) (history.Record, bool, error) {
	raw, ok, err := l.DB.Get(stored.RevKey(stored.HeadKeys, rev))
	if err != nil || !ok {
		return history.Record{}, false, err
	}
	h, err := history.Decode(raw, l.Key)
	if err != nil {
		return history.Record{}, false, err
	}
	return h.Record, true, nil
}

// SweepHeads drops the heads that no stored property names, in one commit that
// depends on must.
func (l *Log) SweepHeads(ctx context.Context, live *history.Live, must kv.Op) error {
	var heads []item.Rev
	for pair, err := range l.DB.Scan(ctx, []byte{stored.HeadKeys}) {
		if err != nil {
			return err
		}
		rev, err := stored.KeyRev(pair.Key)
		if err != nil {
			return err
		}
		heads = append(heads, rev)
	}
	var ops []kv.Op
	for _, rev := range heads {
		if live.Of(rev) == 0 {
			ops = append(ops, kv.Del(stored.RevKey(stored.HeadKeys, rev)))
		}
	}
	if len(ops) == 0 {
		return nil
	}
	return l.DB.Commit(ctx, append(ops, must)...)
}

// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"restante/engine/mail"
	"restante/engine/spool"
	"restante/internal/kv"
)

// NewSpoolStore returns a spool as a Store.
func NewSpoolStore(s *spool.Spool) Store { return spoolStore{s} }

// NewMemStore returns the store in memory that the package's tests use.
func NewMemStore(db kv.DB) Store { return &memStore{db: db, lost: map[mail.MessageID]bool{}} }

// SPDX-License-Identifier: Apache-2.0

package printable

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a character shows or not, whoever asks"})
}

func TestShows(t *testing.T) {
	for _, r := range " aß世\u0301\U0001F600\ufffd\\" {
		if !Shows(r) {
			t.Errorf("%U does not show", r)
		}
	}
	for _, r := range "\x00\n\t\x7f\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180e\u180f\u200b\u200d\u2028\u202e\u2060" +
		"\u2800\u3000\u3164\ufe00\ufe0f\ufeff\uffa0\uffff\U00016fe4\U0001d159\U000e0041\U000e0100" {
		if Shows(r) {
			t.Errorf("%U shows", r)
		}
	}
}

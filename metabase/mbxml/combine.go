// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"fmt"
	"maps"

	"restante/metabase"
)

// combine makes one key of the elements of a foreign file that have the same place.
// IIS exports what a key inherits as a second element: such a property is stored
// at the key unless the file has it there or above. Two elements that say two
// things are a problem.
func (p *planner) combine(keys []placed) []placed {
	if !p.file.Foreign {
		return keys
	}
	first := map[string]int{} // by folded path
	var out []placed
	for _, inherited := range []bool{false, true} { // what a key has itself comes before
		for _, k := range keys {
			if k.inherited != inherited {
				continue
			}
			i, twice := first[k.Path.Fold()]
			if !twice {
				i, first[k.Path.Fold()] = len(out), len(out)
				bare := k
				if inherited {
					bare.Element, bare.Items = anyClass, nil
				}
				out = append(out, bare)
				if !inherited {
					continue
				}
			}
			p.addItems(out, i, first, k)
		}
	}
	return out
}

// addItems adds to keys[i] what another element of it has besides.
func (p *planner) addItems(keys []placed, i int, first map[string]int, k placed) {
	ids := p.ids(keys[i])
	if k.inherited {
		for at := k.Path; at != metabase.Root; {
			at = at.Parent()
			if j, ok := first[at.Fold()]; ok {
				maps.Copy(ids, p.ids(keys[j]))
			}
		}
	}
	added := 0
	for _, it := range k.Items {
		_, want, faults := p.find(it)
		had, there := ids[want.ID]
		if len(faults) == 0 && there {
			if !k.inherited && had.Value != it.Value && want.ID != metabase.KeyType {
				p.problem(it.Line, k.to, it.Name, fmt.Errorf("line %d has another value of it already", had.Line))
			}
			continue
		}
		keys[i].Items = append(keys[i].Items, it)
		added++
	}
	if k.inherited && added > 0 {
		text := "properties that it inherited are"
		if added == 1 {
			text = "property that it inherited is"
		}
		p.remark(Translated, k.Line, k.to, "", "%s", fmt.Sprintf("%d %s stored at it: the file has none of the keys above", added, text))
	}
}

// ids are the properties of a key by their numbers, but for those with a fault.
func (p *planner) ids(k placed) map[metabase.ID]Item {
	ids := map[metabase.ID]Item{metabase.KeyType: {}}
	for _, it := range k.Items {
		if _, want, faults := p.find(it); len(faults) == 0 {
			ids[want.ID] = it
		}
	}
	return ids
}

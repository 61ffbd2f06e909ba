package fsm

import (
	"iter"
	"math/bits"
)

// A trie is a persistent map from request id to result, a hash array mapped
// trie that only grows. It exists beside the radix tree of the configuration
// because that one spends some 400 bytes on each entry for watch channels that
// nobody needs here, and a busy cluster has a hundred thousand entries.
type trie struct{ root *trieNode }

// A trieNode has one slot for each bit set in used, in the order of the bits.
// Nodes are not changed once they are part of a trie.
type trieNode struct {
	used  uint32
	slots []trieSlot
}

// A trieSlot is a node below, or one result and the next with the same hash.
type trieSlot struct {
	node *trieNode
	leaf *trieLeaf
}

type trieLeaf struct {
	request *request
	next    *trieLeaf
}

// insert keeps results with the same hash in the order of their ids.
func (l *trieLeaf) insert(r *request) *trieLeaf {
	if l == nil || r.id < l.request.id {
		return &trieLeaf{r, l}
	}
	return &trieLeaf{l.request, l.next.insert(r)}
}

const (
	trieBits = 5
	trieMask = 1<<trieBits - 1
)

// trieHash is FNV-1a: the shape of the trie must not differ between filers,
// since it is the order in which a snapshot lists results.
func trieHash(id string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	return h
}

// get finds the result of an id with its hash.
func (t trie) get(id string, h uint64) *request {
	n := t.root
	for ; n != nil; h >>= trieBits {
		bit := uint32(1) << (h & trieMask)
		if n.used&bit == 0 {
			return nil
		}
		s := n.slots[bits.OnesCount32(n.used&(bit-1))]
		for l := s.leaf; l != nil; l = l.next {
			if l.request.id == id {
				return l.request
			}
		}
		n = s.node
	}
	return nil
}

// put adds a result whose id is not in the trie.
func (t trie) put(r *request) trie {
	return trie{t.root.put(trieHash(r.id), 0, &trieLeaf{request: r})}
}

func (n *trieNode) put(hash uint64, shift uint, leaf *trieLeaf) *trieNode {
	if n == nil {
		n = &trieNode{}
	}
	bit := uint32(1) << (hash >> shift & trieMask)
	at := bits.OnesCount32(n.used & (bit - 1))
	if n.used&bit == 0 {
		slots := make([]trieSlot, len(n.slots)+1)
		copy(slots, n.slots[:at])
		slots[at] = trieSlot{leaf: leaf}
		copy(slots[at+1:], n.slots[at:])
		return &trieNode{n.used | bit, slots}
	}
	slots := make([]trieSlot, len(n.slots))
	copy(slots, n.slots)
	s := &slots[at]
	switch {
	case s.node != nil:
		s.node = s.node.put(hash, shift+trieBits, leaf)
	case trieHash(s.leaf.request.id) == hash:
		s.leaf = s.leaf.insert(leaf.request)
	default:
		// Two hashes share the path so far: push the one that was here down.
		below := (*trieNode)(nil).put(trieHash(s.leaf.request.id), shift+trieBits, s.leaf)
		*s = trieSlot{node: below.put(hash, shift+trieBits, leaf)}
	}
	return &trieNode{n.used, slots}
}

// all yields every result, in an order that depends on the ids alone.
func (t trie) all() iter.Seq[*request] {
	return func(yield func(*request) bool) { t.root.all(yield) }
}

func (n *trieNode) all(yield func(*request) bool) bool {
	if n == nil {
		return true
	}
	for _, s := range n.slots {
		for l := s.leaf; l != nil; l = l.next {
			if !yield(l.request) {
				return false
			}
		}
		if !s.node.all(yield) {
			return false
		}
	}
	return true
}

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The bolt library trusts its file. A truncated or damaged one makes it read
// beyond the mapping or panic, in goroutines of its own where nobody can recover:
// the daemon would die without a word about which file to look at. So the tree is
// walked once before bolt opens it, with ordinary reads and every number checked.

// Layout of a bolt file, version 2. Numbers are in the machine's byte order,
// which is little-endian wherever this product runs.
const (
	boltMagic       = 0xED0CDAED
	boltVersion     = 2
	boltPageHeader  = 16
	boltElement     = 16 // of a branch or a leaf, by chance the same
	boltMetaSize    = 64
	boltBucketLeaf  = 1
	boltInlineSize  = 16
	boltBranch      = 1
	boltLeaf        = 2
	boltMaxDepth    = 32
	boltMaxPageSize = 64 << 10
)

// checkBolt returns a *DamagedError if the file cannot be trusted to bolt. A
// file that another process writes at this moment may look damaged; opening it
// fails on its lock, so that is asked first.
func checkBolt(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if locked(f) {
		return nil // opening it reports that
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	err = walkBolt(f, info.Size())
	if errors.Is(err, errBolt) {
		return &DamagedError{path, err.Error()}
	}
	return err
}

// errBolt is wrapped by every finding of the walk.
var errBolt = errors.New("not a sound bolt file")

func boltError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBolt, fmt.Sprintf(format, args...))
}

// walkBolt checks a whole bolt file of the given size.
func walkBolt(r io.ReaderAt, size int64) error {
	m, err := readBoltMeta(r, size)
	if err != nil {
		return err
	}
	if uint64(size) < m.pages*uint64(m.pageSize) {
		return boltError("it has %d bytes where %d pages of %d were written: it was truncated", size, m.pages, m.pageSize)
	}
	w := &boltWalk{r: r, meta: m, seen: map[uint64]bool{}}
	return w.page(m.root, 0, nil, nil)
}

type boltMeta struct {
	pageSize uint32
	root     uint64
	pages    uint64 // the high-water mark: pages from here on were never used
	txid     uint64
}

// readBoltMeta returns the newer of the two meta pages that is valid. One may
// be spoiled by a power cut in the middle of a commit; that is what the other is
// for.
func readBoltMeta(r io.ReaderAt, size int64) (boltMeta, error) {
	var best boltMeta
	found := false
	try := func(offset int64) {
		b := make([]byte, boltPageHeader+boltMetaSize)
		if _, err := r.ReadAt(b, offset); err != nil {
			return
		}
		if m, ok := parseBoltMeta(b[boltPageHeader:]); ok && (!found || m.txid > best.txid) {
			best, found = m, true
		}
	}
	try(0)
	if found {
		try(int64(best.pageSize))
	} else {
		// The page size stands in the page that is spoiled.
		for s := int64(1 << 10); s <= boltMaxPageSize && !found; s <<= 1 {
			try(s)
		}
	}
	if !found {
		return best, boltError("neither of its two meta pages is valid")
	}
	if best.pages < 3 || best.root >= best.pages || best.pages > uint64(size) {
		return best, boltError("the meta page names root %d of %d pages", best.root, best.pages)
	}
	return best, nil
}

func parseBoltMeta(b []byte) (boltMeta, bool) {
	le := binary.LittleEndian
	h := fnv.New64a()
	h.Write(b[:56])
	m := boltMeta{pageSize: le.Uint32(b[8:]), root: le.Uint64(b[16:]), pages: le.Uint64(b[40:]), txid: le.Uint64(b[48:])}
	ok := le.Uint32(b) == boltMagic && le.Uint32(b[4:]) == boltVersion && le.Uint64(b[56:]) == h.Sum64() &&
		m.pageSize >= 1<<10 && m.pageSize <= boltMaxPageSize && m.pageSize&(m.pageSize-1) == 0
	return m, ok
}

type boltWalk struct {
	r    io.ReaderAt
	meta boltMeta
	seen map[uint64]bool
	one  []byte // scratch for page headers
}

// page checks a page and everything below it. Its keys lie in [low, high); nil
// means no bound.
func (w *boltWalk) page(id uint64, depth int, low, high []byte) error {
	if depth > boltMaxDepth {
		return boltError("page %d: the tree is deeper than %d", id, boltMaxDepth)
	}
	b, err := w.read(id)
	if err != nil {
		return err
	}
	return w.node(b, id, depth, low, high)
}

// read returns a page with its overflow pages, and claims them.
func (w *boltWalk) read(id uint64) ([]byte, error) {
	size := uint64(w.meta.pageSize)
	if id < 2 || id >= w.meta.pages {
		return nil, boltError("page %d is referred to, and there are pages 2 to %d", id, w.meta.pages-1)
	}
	if w.one == nil {
		w.one = make([]byte, boltPageHeader)
	}
	if _, err := w.r.ReadAt(w.one, int64(id*size)); err != nil {
		return nil, boltError("page %d cannot be read: %v", id, err)
	}
	if self := binary.LittleEndian.Uint64(w.one); self != id {
		return nil, boltError("page %d says that it is page %d", id, self)
	}
	n := uint64(binary.LittleEndian.Uint32(w.one[12:])) + 1
	if n > w.meta.pages-id {
		return nil, boltError("page %d overflows into %d pages, beyond the end", id, n-1)
	}
	for p := id; p < id+n; p++ {
		if w.seen[p] {
			return nil, boltError("page %d is used twice", p)
		}
		w.seen[p] = true
	}
	b := make([]byte, n*size)
	if _, err := w.r.ReadAt(b, int64(id*size)); err != nil {
		return nil, boltError("page %d cannot be read: %v", id, err)
	}
	return b, nil
}

// node checks the elements of a page, which may stand inline in a leaf.
func (w *boltWalk) node(b []byte, id uint64, depth int, low, high []byte) error {
	le := binary.LittleEndian
	flags, count := le.Uint16(b[8:]), int(le.Uint16(b[10:]))
	if flags != boltBranch && flags != boltLeaf {
		return boltError("page %d is of kind %#x, where a branch or a leaf belongs", id, flags)
	}
	if boltPageHeader+count*boltElement > len(b) || flags == boltBranch && count == 0 {
		return boltError("page %d has %d elements in %d bytes", id, count, len(b))
	}
	type child struct {
		page uint64
		key  []byte
	}
	var children []child
	var previous []byte
	for i := range count {
		at := boltPageHeader + i*boltElement
		e := b[at : at+boltElement]
		var kind, pos, ksize, vsize uint32
		if flags == boltLeaf {
			kind, pos, ksize, vsize = le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:]), le.Uint32(e[12:])
		} else {
			pos, ksize = le.Uint32(e), le.Uint32(e[4:])
		}
		start, end := uint64(at)+uint64(pos), uint64(at)+uint64(pos)+uint64(ksize)+uint64(vsize)
		if end > uint64(len(b)) {
			return boltError("page %d, element %d lies outside of the page", id, i)
		}
		key, value := b[start:start+uint64(ksize)], b[start+uint64(ksize):end]
		if i > 0 && bytes.Compare(previous, key) >= 0 || low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return boltError("page %d, element %d is out of order", id, i)
		}
		previous = key
		switch {
		case flags == boltBranch:
			children = append(children, child{le.Uint64(e[8:]), key})
		case kind == boltBucketLeaf:
			if err := w.bucket(value, id, depth); err != nil {
				return err
			}
		case kind != 0:
			return boltError("page %d, element %d is of kind %#x", id, i, kind)
		}
	}
	for i, c := range children {
		below := high
		if i+1 < len(children) {
			below = children[i+1].key
		}
		if err := w.page(c.page, depth+1, c.key, below); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket: its pages, or the page that stands in its value.
func (w *boltWalk) bucket(value []byte, id uint64, depth int) error {
	if len(value) < boltInlineSize {
		return boltError("page %d has a bucket of %d bytes", id, len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.page(root, depth+1, nil, nil)
	}
	inline := value[boltInlineSize:]
	if len(inline) < boltPageHeader {
		return boltError("page %d has an inline bucket of %d bytes", id, len(value))
	}
	return w.node(inline, id, depth+1, nil, nil)
}

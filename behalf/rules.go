package behalf

import (
	"fmt"
	"net"
	"slices"

	"github.com/netquorum/netquorum/behalf/sockhook"
)

// Rules returns what makes any program speak as the server: see
// sockhook.Enter. indexOf finds the index of a link by its name; net's when nil.
//
// With a VRF, sockets belong to it, and the kernel chooses among the server's
// addresses, unless Only has chosen. Without one, the address decides the route.
func (id Identity) Rules(indexOf func(link string) (int, error)) (sockhook.Rules, error) {
	if indexOf == nil {
		indexOf = linkIndex
	}
	var r sockhook.Rules
	var err error
	if id.VRF != "" {
		if r.Device, err = indexOf(id.VRF); err != nil {
			return r, err
		}
		if len(id.Addresses) > 1 {
			return r, nil
		}
	}
	sources := concise(id.Sources)
	if len(sources) == 0 {
		return r, &AddressError{id, "it has nothing to speak from"}
	}
	if r.Device == 0 {
		general := slices.MinFunc(sources, func(a, b Source) int { return a.To.Bits() - b.To.Bits() })
		if r.OtherDevice, err = indexOf(general.Link); err != nil {
			return r, err
		}
	}
	for _, s := range sources {
		r.Sources = append(r.Sources, sockhook.Source{To: s.To, Address: s.Address})
	}
	return r, nil
}

func linkIndex(link string) (int, error) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w; has the server just moved away?", link, err)
	}
	return i.Index, nil
}

// concise leaves out what a less particular source says as well.
func concise(list []Source) []Source {
	var out []Source
	for i, s := range list {
		next := slices.IndexFunc(list[i+1:], func(o Source) bool { return o.To.Overlaps(s.To) })
		if next < 0 || list[i+1+next].Address != s.Address {
			out = append(out, s)
		}
	}
	return out
}

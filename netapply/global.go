package netapply

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// domainSettings let a server that listens on all interfaces accept what arrives
// in a VRF. They belong to the whole network namespace, so they are set only
// where a server has a VRF, and never set back: what set them first is not
// known, and without a VRF they have no effect. (Raw sockets and SCTP accept by
// default.) See Documentation/networking/vrf.rst of the kernel.
var domainSettings = Settings{
	"ipv4/tcp_l3mdev_accept": 1,
	"ipv4/udp_l3mdev_accept": 1,
}

// SetGlobal changes settings of the network namespace below /proc/sys/net.
type SetGlobal struct{ Settings Settings }

// Object implements Step.
func (s SetGlobal) Object() string {
	return "settings " + strings.Join(slices.Sorted(maps.Keys(s.Settings)), " ")
}

func (s SetGlobal) String() string {
	b := []string{"sysctl -w"}
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		b = append(b, "net/"+name+"="+strconv.Itoa(s.Settings[name]))
	}
	return strings.Join(b, " ")
}

// global comes first: with it, what is bound to no VRF is reached as soon as
// the VRF is there.
func (p *planner) global() {
	differ := Settings{}
	for name, v := range p.want.Global {
		// A kernel that does not show it has no VRFs either.
		if have, shown := p.have.Global[name]; shown && have != v {
			differ[name] = v
		}
	}
	if len(differ) > 0 {
		p.emit(SetGlobal{differ})
	}
}

// observeGlobal reads the settings that a plan may change.
func observeGlobal() (Settings, error) {
	have := Settings{}
	for name := range domainSettings {
		text, err := os.ReadFile(filepath.Join("/proc/sys/net", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if have[name], err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return nil, err
		}
	}
	return have, nil
}

func (k *Netlink) setGlobal(s SetGlobal) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		errs = append(errs, k.writeSys("net/"+name, s.Settings[name]))
	}
	return errors.Join(errs...)
}

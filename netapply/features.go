package netapply

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// A Feature is something that a kernel may lack.
type Feature struct {
	Name    string `json:"name"`
	Present bool   `json:"present"`
	Detail  string `json:"detail,omitempty"` // why it counts as absent
}

// The features that are probed.
const (
	FeatureBond            = "bond"
	FeatureVLAN            = "vlan"
	FeatureMacvlan         = "macvlan"
	FeatureVRF             = "vrf"
	FeatureNftables        = "nftables"
	FeatureSCTP            = "sctp"
	FeatureAddressProtocol = "ifaproto"
	FeatureEthtool         = "ethtool"
	FeatureRPS             = "rps"
	FeatureXPS             = "xps"
)

// Features tells what this machine's kernel can do, by trying. It changes
// nothing, but makes the kernel load modules that it has.
func Features(ctx context.Context) []Feature {
	probes := []struct {
		name string
		try  func(context.Context) error
	}{
		{FeatureBond, probeLink(Bond)},
		{FeatureVLAN, probeLink(VLAN)},
		{FeatureMacvlan, probeLink(Macvlan)},
		{FeatureVRF, probeLink(VRF)},
		{FeatureNftables, probeNftables},
		{FeatureSCTP, probeSCTP},
		{FeatureAddressProtocol, probeAddressProtocol},
		{FeatureEthtool, probeEthtool},
		{FeatureRPS, probeFile("/sys/class/net/lo/queues/rx-0/rps_cpus", "receive packet steering (CONFIG_RPS)")},
		{FeatureXPS, probeFile("/sys/class/net/lo/queues/tx-0/xps_cpus", "transmit packet steering (CONFIG_XPS)")},
	}
	list := make([]Feature, len(probes))
	for i, p := range probes {
		list[i] = Feature{Name: p.name, Present: true}
		if err := p.try(ctx); err != nil {
			list[i] = Feature{Name: p.name, Detail: err.Error()}
		}
	}
	return list
}

// kindFeatures says which feature each kind of link needs.
var kindFeatures = map[LinkKind]string{
	Bond: FeatureBond, VLAN: FeatureVLAN, Macvlan: FeatureMacvlan, VRF: FeatureVRF,
}

// Requires lists, sorted, the features without which the kernel cannot be made
// to match.
func Requires(want Desired) []string {
	var list []string
	for _, l := range want.Links {
		if f, ok := kindFeatures[l.Kind]; ok {
			list = append(list, f)
		}
		for name := range l.Tuning {
			list = append(list, tuningFeatures(name)...)
		}
	}
	if want.Access != nil {
		list = append(list, FeatureNftables)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// probeLink asks for a link in a way that a kernel with that kind refuses as
// incomplete, and one without as unknown. A bond needs no more than its kind:
// it is given a MAC of one byte, which no link has.
func probeLink(kind LinkKind) func(context.Context) error {
	return func(context.Context) error {
		k, err := Open()
		if err != nil {
			return err
		}
		defer k.Close()
		m := linkHeader(0, 0, 0)
		m.bytes(unix.IFLA_ADDRESS, []byte{0})
		m.nest(unix.IFLA_LINKINFO, func() { m.text(unix.IFLA_INFO_KIND, string(kind)) })
		err = k.changes.exchange([]change{{unix.RTM_NEWLINK, unix.NLM_F_CREATE | unix.NLM_F_EXCL, m, nil}})[0]
		switch {
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("the kernel has no links of type %s", kind)
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("links cannot be made without CAP_NET_ADMIN: %w", err)
		}
		return nil
	}
}

func probeNftables(context.Context) error {
	if _, err := generation(); err != nil {
		return fmt.Errorf("the kernel has no nftables: %w", err)
	}
	return inOwnNamespace(func() error {
		if err := new(packetFilter).set(&Ruleset{}); err != nil {
			return fmt.Errorf("the kernel's nftables lacks something that access policies need: %w", err)
		}
		return nil
	})
}

func probeSCTP(context.Context) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return fmt.Errorf("the kernel has no SCTP: %w", err)
	}
	return unix.Close(fd)
}

// probeAddressProtocol adds an address in a network namespace of its own and
// looks whether the kernel remembers who made it.
func probeAddressProtocol(ctx context.Context) error {
	return inOwnNamespace(func() error { return tryAddressProtocol(ctx) })
}

// inOwnNamespace tries something where it does no harm.
func inOwnNamespace(try func() error) error {
	result := make(chan error, 1)
	go func() {
		// Not unlocked: the thread, and the namespace with it, ends with the
		// goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("cannot be tried without a network namespace: %w", err)
			return
		}
		result <- try()
	}()
	return <-result
}

func tryAddressProtocol(ctx context.Context) error {
	k, err := Open()
	if err != nil {
		return err
	}
	defer k.Close()
	if _, err := k.Observe(ctx); err != nil {
		return err
	}
	a := Address{Link: "lo", Prefix: netip.MustParsePrefix("127.0.0.190/32")}
	if err := errors.Join(k.Do(ctx, AddAddress{a})...); err != nil {
		return err
	}
	o, err := k.Observe(ctx)
	if err != nil {
		return err
	}
	for _, have := range o.Addresses {
		if have.Prefix == a.Prefix && have.Protocol == Protocol {
			return nil
		}
	}
	return errors.New("the kernel does not keep who made an address (Linux 5.18 does)")
}

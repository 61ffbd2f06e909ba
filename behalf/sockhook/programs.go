package sockhook

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Rules say what becomes of the sockets of a control group.
type Rules struct {
	// Device is the index of a VRF that every socket belongs to; 0 for none.
	Device int
	// OtherDevice is the index of a link that sockets other than TCP's and UDP's
	// are bound to, like ping's: no hook can give those an address.
	OtherDevice int
	// Sources say from which address to speak to whom; the first that fits is
	// taken. When there are any, what fits none is refused: it would be sent in
	// the filer's own name.
	Sources []Source
}

// A Source says that what goes to a destination comes from an address of the
// same family.
type Source struct {
	To      netip.Prefix
	Address netip.Addr
}

// MaxSources is how many sources a program has room for: a jump spans 32767
// instructions, and a source of IPv6 takes 30.
const MaxSources = 1000

// A program is one that is to be attached.
type program struct {
	name   string
	kind   uint32 // BPF_PROG_TYPE_
	attach uint32 // BPF_CGROUP_
	code   []byte
}

// Offsets in the contexts of the hooks: struct bpf_sock and struct
// bpf_sock_addr.
const (
	sockBoundDevice = 0
	sockProtocol    = 12
	sockSource4     = 24
	sockSource6     = 28

	addrDestination4 = 4
	addrDestination6 = 8
	addrProtocol     = 36
	addrSource4      = 40
	addrSource6      = 44
	addrSock         = 64
)

const helperBind = 64 // BPF_FUNC_bind

// The answers of a program.
const (
	refuse = 0
	permit = 1
)

// programs writes what the rules need.
func (r Rules) programs() []program {
	var list []program
	if r.Device != 0 || r.OtherDevice != 0 {
		list = append(list, program{"create", unix.BPF_PROG_TYPE_CGROUP_SOCK, unix.BPF_CGROUP_INET_SOCK_CREATE, r.create()})
	}
	if len(r.Sources) == 0 {
		return list
	}
	for _, p := range []program{
		{"connect4", 0, unix.BPF_CGROUP_INET4_CONNECT, r.connect4()},
		{"connect6", 0, unix.BPF_CGROUP_INET6_CONNECT, r.connect6()},
		{"sendmsg4", 0, unix.BPF_CGROUP_UDP4_SENDMSG, r.sendmsg4()},
		{"sendmsg6", 0, unix.BPF_CGROUP_UDP6_SENDMSG, r.sendmsg6()},
		{"bind4", 0, unix.BPF_CGROUP_INET4_BIND, r.bind4()},
		{"bind6", 0, unix.BPF_CGROUP_INET6_BIND, r.bind6()},
	} {
		p.kind = unix.BPF_PROG_TYPE_CGROUP_SOCK_ADDR
		list = append(list, p)
	}
	return list
}

// family returns the sources of one family, as given. None comes after one that
// fits everything: the kernel refuses programs with parts that are never reached.
func (r Rules) family(four bool) []Source {
	list := slices.DeleteFunc(slices.Clone(r.Sources), func(s Source) bool { return s.Address.Is4() != four })
	if i := slices.IndexFunc(list, func(s Source) bool { return s.To.Bits() == 0 }); i >= 0 {
		list = list[:i+1]
	}
	return list
}

// general is the address for who does not say to whom it will speak: that of
// the shortest prefix.
func (r Rules) general(four bool) (netip.Addr, bool) {
	list := r.family(four)
	if len(list) == 0 {
		return netip.Addr{}, false
	}
	return slices.MinFunc(list, func(a, b Source) int { return a.To.Bits() - b.To.Bits() }).Address, true
}

// word is one of the 32-bit words of an address as the kernel keeps it.
func word(b []byte, i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }

// create binds sockets to a device when they are made.
func (r Rules) create() []byte {
	a := newAssembler()
	device := r.Device
	if device == 0 {
		device = r.OtherDevice
		a.emit(opLoad32, r2, r1, sockProtocol, 0)
		for _, p := range []uint32{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			a.jump(opJumpEq, r2, p, "done")
		}
	}
	a.emit(opMoveImm32, r2, 0, 0, uint32(device))
	a.emit(opStore32, r1, r2, sockBoundDevice, 0)
	a.at("done")
	a.returns(permit)
	return a.finish()
}

// to4 jumps to what is to be done for the source of the IPv4 address in r7: the
// label source4-N, or "permit" for this machine's own, or "refuse".
func (r Rules) to4(a *assembler) {
	a.jump(opJumpEq, r7, 0, "permit") // means this machine
	match4(a, netip.MustParsePrefix("127.0.0.0/8"), "permit")
	for i, s := range r.family(true) {
		match4(a, s.To, label(fmt.Sprint("source4-", i)))
	}
	a.jump(opJump, 0, 0, "refuse")
}

func match4(a *assembler, p netip.Prefix, to label) {
	a.emit(opMove32, r2, r7, 0, 0)
	a.emit(opAndImm32, r2, 0, 0, word(mask(p.Bits(), 4), 0))
	a.jump(opJumpEq, r2, word(p.Masked().Addr().AsSlice(), 0), to)
}

// to6 does the same for the IPv6 destination of the context in r6.
func (r Rules) to6(a *assembler) {
	for i, own := range []string{"::/128", "::1/128", "fe80::/10"} { // this machine, this link
		match6(a, netip.MustParsePrefix(own), "permit", label(fmt.Sprint("own6-", i)))
	}
	for i, s := range r.family(false) {
		if s.To.Bits() == 0 {
			a.jump(opJump, 0, 0, label(fmt.Sprint("source6-", i)))
			return
		}
		match6(a, s.To, label(fmt.Sprint("source6-", i)), label(fmt.Sprint("next6-", i)))
	}
	a.jump(opJump, 0, 0, "refuse")
}

func match6(a *assembler, p netip.Prefix, to, next label) {
	want, m := p.Masked().Addr().AsSlice(), mask(p.Bits(), 16)
	for i := range (p.Bits() + 31) / 32 {
		a.emit(opLoad32, r2, r6, int16(addrDestination6+4*i), 0)
		a.emit(opAndImm32, r2, 0, 0, word(m, i))
		a.jump(opJumpNe, r2, word(want, i), next)
	}
	a.jump(opJump, 0, 0, to)
	a.at(next)
}

// mask is the netmask of a prefix.
func mask(bits, size int) []byte {
	b := make([]byte, size)
	for i := range bits {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return b
}

// begin keeps the context where calls leave it alone.
func begin() *assembler {
	a := newAssembler()
	a.emit(opMove, r6, r1, 0, 0)
	return a
}

// end writes the answers. What comes before has jumped to one of them.
func end(a *assembler) []byte {
	if a.wants("refuse") {
		a.at("refuse")
		a.returns(refuse)
	}
	a.at("permit")
	a.returns(permit)
	return a.finish()
}

// unlessBound permits what the program has bound to an address itself.
func unlessBound(a *assembler, offset, words int) {
	a.emit(opLoad64, r2, r6, addrSock, 0)
	for i := range words {
		a.emit(opLoad32, r3, r2, int16(offset+4*i), 0)
		a.jump(opJumpNe, r3, 0, "permit")
	}
}

// A sockaddr is written on the stack, from here on; it takes 28 bytes at most.
const stack = -32

// bindTo4 binds the socket to an IPv4 address, to no port yet.
func bindTo4(a *assembler, source netip.Addr) {
	a.emit(opStoreImm16, r10, 0, stack, unix.AF_INET)
	a.emit(opStoreImm16, r10, 0, stack+2, 0)
	a.emit(opStoreImm32, r10, 0, stack+4, word(source.AsSlice(), 0))
	a.emit(opStoreImm32, r10, 0, stack+8, 0)
	a.emit(opStoreImm32, r10, 0, stack+12, 0)
	callBind(a, unix.SizeofSockaddrInet4)
}

// bindTo6 does the same for IPv6, or for IPv4 within it.
func bindTo6(a *assembler, source netip.Addr) {
	b := source.As16()
	a.emit(opStoreImm16, r10, 0, stack, unix.AF_INET6)
	a.emit(opStoreImm16, r10, 0, stack+2, 0)
	a.emit(opStoreImm32, r10, 0, stack+4, 0)
	for i := range 4 {
		a.emit(opStoreImm32, r10, 0, int16(stack+8+4*i), word(b[:], i))
	}
	a.emit(opStoreImm32, r10, 0, stack+24, 0)
	callBind(a, unix.SizeofSockaddrInet6)
}

// callBind fails when the address is not here any more; going on without would
// be to speak as the filer.
func callBind(a *assembler, size uint32) {
	a.emit(opMove, r1, r6, 0, 0)
	a.emit(opMove, r2, r10, 0, 0)
	a.emit(opAddImm, r2, 0, 0, stackOffset())
	a.emit(opMoveImm, r3, 0, 0, size)
	a.emit(opCall, 0, 0, 0, helperBind)
	a.jump(opJumpEq, r0, 0, "permit")
	a.jump(opJump, 0, 0, "refuse")
}

func stackOffset() uint32 {
	offset := int32(stack)
	return uint32(offset)
}

func (r Rules) connect4() []byte {
	a := begin()
	unlessBound(a, sockSource4, 1)
	a.emit(opLoad32, r7, r6, addrDestination4, 0)
	r.to4(a)
	for i, s := range r.family(true) {
		a.at(label(fmt.Sprint("source4-", i)))
		bindTo4(a, s.Address)
	}
	return end(a)
}

func (r Rules) connect6() []byte {
	a := begin()
	unlessBound(a, sockSource6, 4)
	// A socket for both families reaches IPv4 by ::ffff:a.b.c.d.
	match6(a, netip.MustParsePrefix("::ffff:0:0/96"), "mapped", "six")
	r.to6(a)
	for i, s := range r.family(false) {
		a.at(label(fmt.Sprint("source6-", i)))
		bindTo6(a, s.Address)
	}
	a.at("mapped")
	a.emit(opLoad32, r7, r6, addrDestination6+12, 0)
	r.to4(a)
	for i, s := range r.family(true) {
		a.at(label(fmt.Sprint("source4-", i)))
		bindTo6(a, s.Address)
	}
	return end(a)
}

// sendmsg4 is for UDP sockets that are not connected.
func (r Rules) sendmsg4() []byte {
	a := begin()
	a.emit(opLoad32, r2, r6, addrSource4, 0)
	a.jump(opJumpNe, r2, 0, "permit")
	a.emit(opLoad32, r7, r6, addrDestination4, 0)
	r.to4(a)
	for i, s := range r.family(true) {
		a.at(label(fmt.Sprint("source4-", i)))
		set(a, addrSource4, s.Address.AsSlice())
		a.jump(opJump, 0, 0, "permit")
	}
	return end(a)
}

func (r Rules) sendmsg6() []byte {
	a := begin()
	for i := range 4 {
		a.emit(opLoad32, r2, r6, int16(addrSource6+4*i), 0)
		a.jump(opJumpNe, r2, 0, "permit")
	}
	r.to6(a)
	for i, s := range r.family(false) {
		a.at(label(fmt.Sprint("source6-", i)))
		set(a, addrSource6, s.Address.AsSlice())
		a.jump(opJump, 0, 0, "permit")
	}
	return end(a)
}

// set writes an address into the context.
func set(a *assembler, offset int, address []byte) {
	for i := range len(address) / 4 {
		a.emit(opMoveImm32, r2, 0, 0, word(address, i))
		a.emit(opStore32, r6, r2, int16(offset+4*i), 0)
	}
}

// bind4 replaces the wildcard address: a socket that is bound to a port before it
// connects would keep the wildcard, and so get the filer's address.
func (r Rules) bind4() []byte {
	a := begin()
	a.emit(opLoad32, r2, r6, addrDestination4, 0)
	a.jump(opJumpNe, r2, 0, "permit")
	if source, ok := r.general(true); ok {
		set(a, addrDestination4, source.AsSlice())
		a.jump(opJump, 0, 0, "permit")
	} else {
		a.jump(opJump, 0, 0, "refuse")
	}
	return end(a)
}

// bind6 does the same. With both families the wildcard means both, and UDP's
// sockets may keep it, as each datagram is given its source when it is sent.
func (r Rules) bind6() []byte {
	a := begin()
	for i := range 4 {
		a.emit(opLoad32, r2, r6, int16(addrDestination6+4*i), 0)
		a.jump(opJumpNe, r2, 0, "permit")
	}
	four, has4 := r.general(true)
	six, has6 := r.general(false)
	if has4 && has6 {
		a.emit(opLoad32, r2, r6, addrProtocol, 0)
		a.jump(opJumpEq, r2, unix.IPPROTO_UDP, "permit")
	}
	source := six
	if !has6 {
		source = four // ::ffff:a.b.c.d
	}
	b := source.As16()
	set(a, addrDestination6, b[:])
	a.jump(opJump, 0, 0, "permit")
	return end(a)
}

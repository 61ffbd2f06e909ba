package sockhook

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Registers (linux/bpf.h): r0 returns, r1 to r5 are arguments, r6 to r9 survive
// calls, r10 is the end of the stack.
const (
	r0 = iota
	r1
	r2
	r3
	_
	_
	r6
	r7
	_
	_
	r10
)

// Operations, as linux/bpf.h composes them.
const (
	opLoad32     = 0x61 // BPF_LDX | BPF_MEM | BPF_W
	opLoad64     = 0x79
	opStore32    = 0x63 // BPF_STX | BPF_MEM | BPF_W
	opStoreImm16 = 0x6a // BPF_ST | BPF_MEM | BPF_H
	opStoreImm32 = 0x62
	opMove       = 0xbf // BPF_ALU64 | BPF_MOV | BPF_X
	opMove32     = 0xbc
	opMoveImm    = 0xb7
	opMoveImm32  = 0xb4
	opAddImm     = 0x07
	opAndImm32   = 0x54
	opJump       = 0x05
	opJumpEq     = 0x16 // BPF_JMP32 | BPF_JEQ | BPF_K
	opJumpNe     = 0x56
	opCall       = 0x85
	opExit       = 0x95
)

// A label is a place in a program.
type label string

// An assembler writes a program. Jumps name labels and are resolved at the end.
type assembler struct {
	code   []byte
	labels map[label]int
	jumps  map[int]label // by instruction
}

func newAssembler() *assembler {
	return &assembler{labels: map[label]int{}, jumps: map[int]label{}}
}

// emit writes one instruction (struct bpf_insn).
func (a *assembler) emit(op, dst, src byte, offset int16, imm uint32) {
	a.code = append(a.code, op, registers(dst, src))
	a.code = binary.NativeEndian.AppendUint16(a.code, uint16(offset))
	a.code = binary.NativeEndian.AppendUint32(a.code, imm)
}

// registers packs two registers into a byte: they are bit fields, which big
// endian machines fill from the other end.
func registers(dst, src byte) byte {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return dst<<4 | src
	}
	return src<<4 | dst
}

func (a *assembler) at(l label) { a.labels[l] = len(a.code) / 8 }

func (a *assembler) jump(op, dst byte, imm uint32, to label) {
	a.jumps[len(a.code)/8] = to
	a.emit(op, dst, 0, 0, imm)
}

// wants reports whether a jump leads to the label.
func (a *assembler) wants(l label) bool {
	return slices.Contains(slices.Collect(maps.Values(a.jumps)), l)
}

// returns ends the program with an answer to the kernel.
func (a *assembler) returns(value uint32) {
	a.emit(opMoveImm, r0, 0, 0, value)
	a.emit(opExit, 0, 0, 0, 0)
}

// finish resolves the jumps.
func (a *assembler) finish() []byte {
	for at, to := range a.jumps {
		target, ok := a.labels[to]
		if !ok {
			panic(fmt.Sprintf("sockhook: no label %q", to))
		}
		binary.NativeEndian.PutUint16(a.code[8*at+2:], uint16(int16(target-at-1)))
	}
	return a.code
}

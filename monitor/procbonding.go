package monitor

import (
	"strconv"
	"strings"

	"github.com/netquorum/netquorum"
)

// parseBonding reads /proc/net/bonding/NAME. Netlink has neither the partner of
// each port nor churn; sysfs has no churn. What is not understood is left out:
// the file is made for people, and kernels add to it.
//
// The partner's values appear only for who has CAP_NET_ADMIN.
func parseBonding(text string) Detail {
	out := Detail{}
	member, partner := "", false
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			// "details partner lacp pdu:" is followed by values of the partner.
			switch strings.TrimSpace(line) {
			case "details partner lacp pdu:":
				partner = true
			case "details actor lacp pdu:":
				partner = false
			}
			continue
		}
		if name == "Slave Interface" {
			member, partner = value, false
			out[member] = PortDetail{}
			continue
		}
		if member == "" {
			continue
		}
		d := out[member]
		d.read(name, value, partner)
		out[member] = d
	}
	return out
}

func (d *PortDetail) read(name, value string, partner bool) {
	switch {
	case name == "Speed":
		if number, ok := strings.CutSuffix(value, " Mbps"); ok {
			d.Speed, _ = strconv.Atoi(number)
		}
	case name == "Duplex" && (value == "full" || value == "half"):
		d.Duplex = value
	case name == "Actor Churn State":
		d.ActorChurn = churn(value)
	case name == "Partner Churn State":
		d.PartnerChurn = churn(value)
	case partner && name == "system mac address":
		if mac, err := netquorum.ParseMAC(value); err == nil {
			d.Partner = mac
		}
	case partner && name == "oper key":
		key, _ := strconv.ParseUint(value, 10, 16)
		d.PartnerKey = uint16(key)
	}
}

func churn(word string) Churn {
	switch c := Churn(word); c {
	case ChurnNone, ChurnMonitoring, Churned:
		return c
	}
	return ""
}

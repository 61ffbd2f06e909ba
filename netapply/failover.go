package netapply

import netquorum "github.com/netquorum/netquorum"

// failover wants a failover interface: an active-backup bond. That is what the
// kernel has for keeping one of several links in use, and unlike a mechanism of
// our own it fails over while no daemon runs. Its members may be bonds
// themselves, or VLANs on them (N14).
func failover(i netquorum.Interface) Link {
	f := netquorum.Failover{}
	if i.Failover != nil {
		f = *i.Failover
	}
	l := bond(netquorum.Interface{Name: i.Name, MTU: i.MTU, Bond: &netquorum.Bond{
		Mode:            netquorum.ModeActiveBackup,
		Miimon:          f.Miimon,
		UpDelay:         f.UpDelay,
		DownDelay:       f.DownDelay,
		ARPInterval:     f.ARPInterval,
		ARPTargets:      f.ARPTargets,
		Primary:         f.Primary,
		PrimaryReselect: f.PrimaryReselect,
		FailOverMAC:     f.FailOverMAC,
		ARPValidate:     f.ARPValidate,
		NumGratARP:      f.NumGratARP,
		PeerNotifDelay:  f.PeerNotifDelay,
		ResendIGMP:      f.ResendIGMP,
	}})
	l.Role = "failover"
	return l
}

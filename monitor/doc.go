// Package monitor watches the links of one filer and says of each group of
// links, and of each member, in which state it is. It only looks: it writes
// nothing to the kernel, so that it can be killed and started again at any
// time without disturbing anything, and can run before the filer is in a
// cluster.
//
// Every interface is a group. A physical interface is a group of itself alone,
// a VLAN or an alias a group of the one interface below it, a bond or failover
// interface a group of its members. A member is an interface seen by the group
// that it is part of.
//
//	state     a physical link              a bond or failover interface      a VLAN or alias
//	running   has signal, and carries      a member carries traffic          what is below works, and a
//	          what is sent                                                   probe target answers, if any
//	up        has signal, not trusted yet: members work and none carries     what is below is up, or the
//	          a fault was just now, or     traffic yet, or all that work     targets answer again since
//	          LACP is not through          are up                            just now
//	failed    no signal, or the bond's     every member is failed (or        what is below failed, or no
//	          own monitor gave it up, or   failed and offline), or fewer     target answers any more
//	          it flaps                     than min_links work
//	inactive  works, another member is in  as a member: the same             as a member: the same
//	          use, or the aggregator that
//	          it is in is not
//	standby   the same, by configuration:  as a member: the same             as a member: the same
//	          another member is primary
//	offline   set down, or not there       set down, or not there, or all    set down, or not there, or what
//	                                       members are offline               is below is offline
//
// A fault of a link is published at once. Its end is published at once as up,
// and as running when the link has been good for the time to repair, which
// doubles with each further fault within a minute; from the third on the link
// stays failed for that long, so that who follows the states does not flap
// with it. Silence of probe targets becomes a fault later than a link's loss
// of signal, and its repair takes longer still.
package monitor

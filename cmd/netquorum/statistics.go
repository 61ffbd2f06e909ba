package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) statisticsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "statistics [VSERVER]",
		Short: "Show what virtual servers sent and received",
		Long: `Show what virtual servers sent and received, and their open connections. With
the name of one, show it by protocol and address.

The kernel of each filer counts for a server while it hosts it. The counters
survive moves and restarts of the daemon, and begin anew when the filer is
started. Bytes are counted from the IP headers on; what a card joins or splits
counts as one packet. Connections and round trip times are those of the host at
this moment.`,
		Example: `  netquorum statistics
  netquorum statistics vsvra
  netquorum statistics -o json | jq '.servers[] | {name, total}'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: t.completeServer,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		server := strings.Join(args, "")
		var st api.Statistics
		err := t.call(cmd, "asking the filers", func(ctx context.Context, c *api.Client) (err error) {
			st, err = c.Statistics(ctx, server)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(st, func() error {
			if server == "" {
				return t.showStatistics(st)
			}
			for _, s := range st.Servers {
				if err := t.showServerStatistics(s, time.Now()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// completeServer completes the name of a virtual server or service.
func (t *tool) completeServer(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := append(t.documentNames(cmd, netquorum.KindVirtualServer), t.documentNames(cmd, netquorum.KindService)...)
	return withPrefix(names, part), cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) showStatistics(st api.Statistics) error {
	tab := newTable("SERVER", "FILER", "HOSTS", "BYTES IN", "BYTES OUT", "PACKETS IN", "PACKETS OUT", "CONNS", "RTT")
	why := map[string]bool{} // a filer that does not answer has nothing for any server
	for _, s := range st.Servers {
		if len(s.Filers) == 0 {
			tab.row(s.Name, "", "", "", "", "", "", "", "")
		}
		for _, f := range s.Filers {
			row := []string{s.Name, f.Filer, "", "unknown", "unknown", "unknown", "unknown", "", ""}
			if f.Hosts {
				row[2] = "yes"
			}
			if f.Traffic != nil {
				ip := f.Traffic.IP
				copy(row[3:], []string{amount(ip.In.Bytes), amount(ip.Out.Bytes), amount(ip.In.Packets), amount(ip.Out.Packets)})
			}
			if f.Sockets != nil {
				row[7], row[8] = fmt.Sprint(f.Sockets.TCP["established"]), roundTrip(f.Sockets.RTT)
			}
			tab.row(row...)
			noteUnknown(why, f)
		}
	}
	if err := tab.write(t.out); err != nil {
		return err
	}
	t.showUnknown(why)
	return nil
}

func noteUnknown(why map[string]bool, f api.FilerStatistics) {
	if f.Unknown != "" {
		why[f.Filer+": traffic unknown: "+f.Unknown] = true
	}
	if f.SocketsUnknown != "" {
		why[f.Filer+": connections unknown: "+f.SocketsUnknown] = true
	}
}

func (t *tool) showUnknown(why map[string]bool) {
	if len(why) > 0 {
		t.printf("\n")
	}
	for _, line := range slices.Sorted(maps.Keys(why)) {
		t.printf("%s\n", strings.Join(wrap(line, lineWidth-2), "\n  "))
	}
}

// showServerStatistics prints one server by protocol and address.
func (t *tool) showServerStatistics(s api.ServerStatistics, now time.Time) error {
	t.printf("%s: on %s\n", s.Name, nameOr(s.Host, "no filer"))
	if len(s.Filers) == 0 {
		t.printf("Nothing was counted yet.\n")
		return nil
	}
	tab := newTable("FILER", "PROTOCOL", "PACKETS IN", "BYTES IN", "PACKETS OUT", "BYTES OUT")
	protocols := func(filer string, c api.Traffic) {
		for _, p := range []struct {
			name string
			flow api.Flow
		}{{"IP", c.IP}, {"TCP", c.TCP}, {"UDP", c.UDP}, {"TCP opens", c.TCPOpens}, {"TCP resets", c.TCPResets}} {
			tab.row(filer, p.name, fmt.Sprint(p.flow.In.Packets), fmt.Sprint(p.flow.In.Bytes), fmt.Sprint(p.flow.Out.Packets), fmt.Sprint(p.flow.Out.Bytes))
		}
	}
	addresses := newTable("FILER", "ADDRESS", "PACKETS IN", "BYTES IN", "PACKETS OUT", "BYTES OUT", "SINCE")
	known, why := 0, map[string]bool{}
	for _, f := range s.Filers {
		if f.Traffic != nil {
			protocols(f.Filer, *f.Traffic)
			known++
		}
		for _, a := range f.Addresses {
			ip := a.Traffic.IP
			addresses.row(f.Filer, a.Address.String(), fmt.Sprint(ip.In.Packets), fmt.Sprint(ip.In.Bytes),
				fmt.Sprint(ip.Out.Packets), fmt.Sprint(ip.Out.Bytes), ago(&a.Since, now))
		}
		noteUnknown(why, f)
	}
	if known > 1 {
		protocols("all", s.Total)
	}
	for _, tab := range []*table{tab, addresses} {
		if len(tab.rows) == 0 {
			continue
		}
		t.printf("\n")
		if err := tab.write(t.out); err != nil {
			return err
		}
	}
	for _, f := range s.Filers {
		if f.Sockets != nil {
			t.showSockets(*f.Sockets)
		}
	}
	t.showUnknown(why)
	return nil
}

func (t *tool) showSockets(s api.SocketStatistics) {
	var states []string
	for _, name := range slices.Sorted(maps.Keys(s.TCP)) {
		states = append(states, fmt.Sprintf("%d %s", s.TCP[name], name))
	}
	t.printf("\nTCP sockets now: %s\n", nameOr(strings.Join(states, ", "), "none"))
	t.printf("  round trip %s, %d segments sent again, %s bytes unread, %s unsent\n",
		orDash(roundTrip(s.RTT)), s.Retransmits, amount(s.Unread), amount(s.Unsent))
	t.printf("UDP sockets now: %d, %d datagrams dropped for want of room\n", s.UDP, s.UDPDrops)
}

func roundTrip(d api.Duration) string {
	if d == 0 {
		return ""
	}
	return time.Duration(d).Round(10 * time.Microsecond).String()
}

// amount writes a number in three digits or so, in powers of 1000.
func amount(n uint64) string {
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	v, unit := float64(n), ""
	for _, u := range []string{"k", "M", "G", "T", "P", "E"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, u
	}
	if v < 99.95 {
		return fmt.Sprintf("%.1f%s", v, unit)
	}
	return fmt.Sprintf("%.0f%s", v, unit)
}

// serverTable is what status shows of the servers; with their traffic where some
// filer counts it.
func serverTable(servers []api.ServerStatus) *table {
	counted := slices.ContainsFunc(servers, func(s api.ServerStatus) bool { return s.Traffic != nil })
	head := []string{"SERVER", "GROUP", "HOST", "EPOCH", "STATE"}
	if counted {
		head = append(head, "IN", "OUT", "CONNS")
	}
	tab := newTable(append(head, "ADDRESSES")...)
	for _, s := range servers {
		row := []string{s.Name, s.Group, s.Host, fmt.Sprint(s.Epoch), s.State}
		switch {
		case counted && s.Traffic != nil:
			row = append(row, amount(s.Traffic.In.Bytes), amount(s.Traffic.Out.Bytes), fmt.Sprint(s.Traffic.Connections))
		case counted:
			row = append(row, "", "", "")
		}
		tab.row(append(row, prefixes(s.Addresses))...)
	}
	return tab
}

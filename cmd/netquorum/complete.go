package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// completionTime is how long a shell may be held up for names.
const completionTime = time.Second

type completion = func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective)

// completeKindAndName completes a kind, then up to names of its documents, as
// the daemon knows them.
func (t *tool) completeKindAndName(names int) completion {
	return func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return withPrefix(kindNames(), part), cobra.ShellCompDirectiveNoFileComp
		}
		kind, err := api.ParseKind(args[0])
		if err != nil || len(args) > names {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		given := map[string]bool{}
		for _, a := range args[1:] {
			given[strings.ToLower(a)] = true
		}
		var out []string
		for _, name := range t.documentNames(cmd, kind) {
			if !given[strings.ToLower(name)] {
				out = append(out, name)
			}
		}
		return withPrefix(out, part), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFiler completes the name of a filer.
func (t *tool) completeFiler(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return withPrefix(t.documentNames(cmd, netquorum.KindFiler), part), cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) documentNames(cmd *cobra.Command, kind netquorum.Kind) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c := api.NewClient(t.socket)
	defer c.Close()
	list, err := c.List(ctx, api.Stale, kind)
	if err != nil {
		return nil // a shell's completion has no place for an error
	}
	var names []string
	for _, d := range list.Documents {
		names = append(names, d.Name)
	}
	return names
}

func kindNames() []string {
	var out []string
	for _, k := range netquorum.Kinds {
		out = append(out, strings.ToLower(string(k)))
	}
	return out
}

func withPrefix(all []string, part string) []string {
	var out []string
	for _, s := range all {
		if len(s) >= len(part) && strings.EqualFold(s[:len(part)], part) {
			out = append(out, s)
		}
	}
	return out
}

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandReferenceIsCurrent keeps docs/cli.md what the commands' own help
// says: go test ./cmd/netquorum -run Reference -update.
func TestCommandReferenceIsCurrent(t *testing.T) {
	t.Setenv("NETQUORUM_SOCKET", "")
	var b strings.Builder
	b.WriteString("# Commands\n\nMade from the commands' help; `netquorum help COMMAND` shows the same.\n\n")
	root := new(tool).command()
	fmt.Fprintf(&b, "%s\n\n%s", root.Long, flagsOf("Flags of every command", root))
	writeCommands(&b, root)
	checkGolden(t, filepath.Join("..", "..", "docs", "cli.md"), b.String())
}

func writeCommands(b *strings.Builder, parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		if cmd.Name() == "help" || cmd.Name() == "completion" && cmd.HasParent() && cmd.Parent().HasParent() {
			continue
		}
		text := cmd.Long
		if text == "" || cmd.Name() == "completion" {
			text = cmd.Short + "."
		}
		fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\n%s\n```\n", cmd.CommandPath(), text, cmd.UseLine())
		if cmd.Example != "" {
			fmt.Fprintf(b, "\nExamples:\n\n```\n%s\n```\n", cmd.Example)
		}
		if cmd.Name() == "completion" {
			b.WriteString("\nFor bash, zsh, fish and powershell; `netquorum completion bash --help` says how to load it.\n")
			continue
		}
		if flags := flagsOf("Flags", cmd); flags != "" {
			b.WriteString("\n" + flags)
		}
		writeCommands(b, cmd)
	}
}

func flagsOf(title string, cmd *cobra.Command) string {
	usages := strings.TrimRight(cmd.LocalFlags().FlagUsages(), "\n")
	if usages == "" {
		return ""
	}
	return fmt.Sprintf("%s:\n\n```\n%s\n```\n", title, usages)
}

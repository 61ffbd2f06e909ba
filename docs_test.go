package netquorum

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTheManualListsEveryRule(t *testing.T) {
	data, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range RuleBook {
		if row := fmt.Sprintf("| `%s` | %s | %s |\n", r.Rule, r.Requirement, r.Says); !strings.Contains(string(data), row) {
			t.Errorf("docs/configuration.md lacks the row\n%s", row)
		}
	}
}

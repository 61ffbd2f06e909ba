package netquorum

import (
	"fmt"
	"testing"
)

func TestSmoke(t *testing.T) {
	c := acceptance(t)
	fmt.Println(c.Len())
	d, _ := c.Get(KindFiler, "filer2")
	y, _ := FormatYAML(func(yield func(Document) bool) { yield(d) })
	y = []byte(string(y))
	fmt.Println(string(y))
	for _, i := range c.Interfaces("filer2") {
		fmt.Print(i.Name, " ")
	}
	_, p := c.Change(parse(t, "kind: VirtualServer\nname: X\nspec:\n  group: main\n  addresses:\n  - {alias: data1, prefix: 10.2.2.4/24}\n  - {alias: data0, prefix: 10.2.2.4/24}\n"), []Key{key("FilerGroup/main"), key("Filer/filer2")})
	fmt.Println(p)
}

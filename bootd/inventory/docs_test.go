package inventory

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/option"
)

// row is one key of a table in docs/inventory.md.
type row struct {
	key, where, typ, def, example, fault string
}

// documented reads the tables of docs/inventory.md by the heading above them.
func documented(t *testing.T) (map[string][]row, string) {
	t.Helper()
	data, err := os.ReadFile("../../docs/inventory.md")
	if err != nil {
		t.Fatal(err)
	}
	tables, heading := map[string][]row{}, ""
	for line := range strings.SplitSeq(string(data), "\n") {
		if h, ok := strings.CutPrefix(line, "## "); ok {
			heading = h
		}
		if h, ok := strings.CutPrefix(line, "### "); ok {
			heading = h
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		r := row{key: strings.Trim(cells[0], "`")}
		if heading == "Settings" {
			r.where = cells[1]
			cells = slices.Delete(cells, 1, 2)
		}
		if len(cells) != 5 || slices.Contains(cells, "") {
			t.Fatalf("%s, %s: a row wants key, type, default, example and fault", heading, r.key)
		}
		r.typ, r.def, r.example, r.fault = cells[1], cells[2], strings.Trim(cells[3], "`"), strings.Trim(cells[4], "`")
		tables[heading] = append(tables[heading], r)
	}
	return tables, string(data)
}

// keys are those of one mapping: what can be read, and what comes later.
type keys struct{ now, later []string }

func keysOf[T any](fields []field[T]) (k keys) {
	for _, f := range fields {
		switch {
		case f.set != nil:
			k.now = append(k.now, f.name)
		case f.misplaced == "":
			k.later = append(k.later, f.name)
		}
	}
	return k
}

// code lists the keys of the code by the heading of their table.
func code() (now map[string][]string, later []string) {
	now = map[string][]string{}
	settings := keysOf(settingsFields)
	inherited := append(slices.Clone(settings.now), settings.later...)
	without := func(all []string) []string {
		return slices.DeleteFunc(all, func(k string) bool { return slices.Contains(inherited, k) })
	}
	for heading, k := range map[string]keys{
		"Sections": keysOf(topFields), "serve": keysOf(serveFields), "dns": keysOf(dnsFields),
		"records": keysOf(recordFields), "dns64": keysOf(dns64Fields), "hosts.dns": keysOf(hostDNSFields), "users": keysOf(userFields), "disk": keysOf(diskFields),
		"networks": keysOf(networkFields), "ra": keysOf(raFields), "profiles": keysOf(profileFields), "hosts": keysOf(hostFields),
		"anyip": keysOf(anyipFields), "docker": keysOf(dockerFields), "follow": keysOf(followFields), "delegate": keysOf(delegateFields), "from": keysOf(fromFields), "pool": keysOf(poolFields), "port": keysOf(portFields),
		"nics": keysOf(nicFields), "upstreams": keysOf(uplinkFields), "secrets": keysOf(secretFields), "ra.prefixes": keysOf(raPrefixFields),
		"yealink": keysOf(yealinkFields), "account": keysOf(accountFields), "keys": keysOf(phoneKeyFields), "phones": keysOf(phoneFields),
		"ra.routes": keysOf(raRouteFields), "ra.pref64": keysOf(raPref64Fields),
	} {
		if strings.HasPrefix(heading, "ra.") { // entries of lists: some share their names with settings
			now[heading] = k.now
			continue
		}
		now[heading] = without(k.now)
		later = append(later, without(k.later)...)
	}
	now["Settings"] = settings.now
	now["options"] = typedOptions()
	return now, append(later, settings.later...)
}

// typedOptions are those that are not written as octets.
func typedOptions() []string {
	return slices.DeleteFunc(option.Writable(), func(name string) bool {
		d, _ := option.ByName(name)
		return d.Kind == option.Opaque
	})
}

// TestDocumentedKeys compares keys in both directions, in order.
func TestDocumentedKeys(t *testing.T) {
	tables, text := documented(t)
	got := map[string][]string{}
	for heading, rows := range tables {
		for _, r := range rows {
			got[heading] = append(got[heading], r.key)
		}
	}
	want, later := code()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/inventory.md (+) and the code (-) differ:\n%s", diff)
	}
	_, notYet, _ := strings.Cut(text, "## Not yet")
	for _, k := range later {
		if !strings.Contains(notYet, "`"+k+"`") {
			t.Errorf("docs/inventory.md: %s is missing among what comes later", k)
		}
	}
	for _, name := range option.Writable() {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/inventory.md does not name the option %s", name)
		}
	}
	for _, f := range settingsFields {
		where := ""
		for _, s := range []struct {
			in     scope
			letter string
		}{{inDefaults, "D"}, {inNetworks, "N"}, {inProfiles, "P"}, {inHosts, "H"}} {
			if f.in&s.in != 0 {
				where += s.letter
			}
		}
		for _, r := range tables["Settings"] {
			if r.key == f.name && r.where != where {
				t.Errorf("docs/inventory.md: %s stands in %s, the code says %s", r.key, r.where, where)
			}
		}
	}
}

// TestDocumentedExamples parses each example in its place.
func TestDocumentedExamples(t *testing.T) {
	// entry is a mapping with some keys and those of the example, which replaces one of the same name.
	entry := func(example string, rest ...string) string {
		key, _, _ := strings.Cut(example, ":")
		out := []string{example}
		for _, r := range rest {
			if !strings.HasPrefix(r, key+":") {
				out = append(out, r)
			}
		}
		return "{" + strings.Join(out, ", ") + "}"
	}
	const relayed = "networks: {rack2: {interface: eth1, relay: \"2001:db8:2::1\", prefix: \"2001:db8:2::/64\"}}\n"
	const isp = "upstreams: {isp: {interface: eth0, request: 48}}\n"
	network := []string{`interface: eth1`, `prefix: "2001:db8:1::/64"`}
	places := map[string]func(string) string{
		"Sections": func(x string) string {
			if strings.HasPrefix(x, "phones:") {
				x += "\nsecrets: {a: {file: a}}"
			}
			return x
		},
		"dns":     func(x string) string { return "dns: " + entry(x) },
		"records": func(x string) string { return "dns: {records: {www.example.net: {" + x + "}}}" },
		"dns64": func(x string) string {
			return "defaults: {dns64: " + entry(x, `prefix: "64:ff9b::/96"`) + "}"
		},
		"hosts.dns": func(x string) string {
			return "hosts: {r1n01: {mac: 52:54:00:aa:01:01, dns: {" + x + "}}}"
		},
		"serve":    func(x string) string { return "serve: " + entry(x) },
		"Settings": func(x string) string { return "defaults: " + entry(x) },
		"users":    func(x string) string { return "defaults: {users: {a: " + entry(x, `password: "$6$salt$hash"`) + "}}" },
		"disk":     func(x string) string { return "defaults: {disk: " + entry(x, "serial: S6P1") + "}" },
		"options":  func(x string) string { return "hosts: {r1n01: {mac: 52:54:00:aa:01:01, options: {" + x + "}}}" },
		"networks": func(x string) string { return "networks: {rack1: " + entry(x, network...) + "}" },
		"from": func(x string) string {
			if strings.HasPrefix(x, "length:") { // of a link it is no other than 64
				return isp + "networks: {rack1: " + entry("delegate: "+entry(x, "from: isp", "subnet: 1", "each: 60"), network...) + "}"
			}
			return isp + "networks: {rack1: {interface: eth1, prefix: " + entry(x, "from: isp", "subnet: 0") + "}}"
		},
		"docker": func(x string) string { return "docker: " + entry(x, `prefix: "2001:db8:0:3::/64"`) },
		"follow": func(x string) string {
			return "follow: {nginx: " + entry(x, `prefix: "2001:db8:0:3::/64"`, "file: /etc/nginx/prefix.conf") + "}"
		},
		"anyip": func(x string) string { return "anyip: " + entry(x, `prefix: "2001:db8:100::/64"`) },
		"delegate": func(x string) string {
			if key, _, _ := strings.Cut(x, ":"); key == "from" || key == "subnet" || key == "each" {
				return isp + "networks: {rack1: " + entry("delegate: "+entry(x, "from: isp", "subnet: 1", "length: 56", "each: 60"), network...) + "}"
			}
			return "networks: {rack1: " + entry("delegate: "+entry(x, `pool: "2001:db8:0:100::/56"`, "length: 60"), network...) + "}"
		},
		"pool": func(x string) string {
			return "networks: {rack1: " + entry("pool: "+entry(x, `ranges: "::1000-::1fff"`), append(network, "unknown: pool")...) + "}"
		},
		"ra": func(x string) string { return "networks: {rack1: " + entry("ra: {"+x+"}", network...) + "}" },
		"ra.prefixes": func(x string) string {
			return "networks: {rack1: " + entry("ra: {prefixes: ["+entry(x, `prefix: "2001:db8:1::/64"`)+"]}", network...) + "}"
		},
		"ra.routes": func(x string) string {
			return "networks: {rack1: " + entry("ra: {routes: ["+entry(x, `prefix: "2001:db8:100::/48"`)+"]}", network...) + "}"
		},
		"ra.pref64": func(x string) string {
			return "networks: {rack1: " + entry("ra: {pref64: ["+entry(x, `prefix: "64:ff9b::/96"`)+"]}", network...) + "}"
		},
		"profiles": func(x string) string { return "profiles: {debian13: " + entry(x, "script: a.ipxe") + "}" },
		"hosts": func(x string) string {
			if strings.HasPrefix(x, "port:") {
				return relayed + "hosts: {r1n01: {" + x + "}}"
			}
			if strings.HasPrefix(x, "nics:") {
				return "hosts: {r1n01: {" + x + "}}"
			}
			return "hosts: {r1n01: " + entry(x, "mac: 52:54:00:aa:01:01") + "}"
		},
		"upstreams": func(x string) string { return "upstreams: {isp: " + entry(x, "interface: eth0") + "}" },
		"secrets": func(x string) string {
			if strings.HasPrefix(x, "age:") {
				x += ", identity: key"
			}
			if strings.HasPrefix(x, "identity:") {
				x += ", age: a.age"
			}
			return "secrets: {a: {" + x + "}}"
		},
		"port": func(x string) string {
			return relayed + "hosts: {r1n01: {port: " + entry(x, `relay: "2001:db8:2::1"`, "interface_id: p7") + "}}"
		},
		"yealink": func(x string) string {
			switch key, _, _ := strings.Cut(x, ":"); key {
			case "certificate", "key":
				return "yealink: " + entry(x, "certificate: a.pem", "key: a.key", "name: prov.example.net")
			}
			return "secrets: {a: {file: a}}\nyealink: " + entry(x)
		},
		"phones": func(x string) string {
			rest := []string{"mac: 80:5e:c0:00:00:12", "model: T58"}
			if !strings.HasPrefix(x, "accounts:") {
				rest = append(rest, `account: {user: "1", password: {secret: a}}`)
			}
			return "secrets: {a: {file: a}}\nyealink: {server: sip.example.net}\nphones: {p: " + entry(x, rest...) + "}"
		},
		"account": func(x string) string {
			return "secrets: {a: {file: a}}\nphones: {p: {mac: 80:5e:c0:00:00:12, model: T58, account: " + entry(x, `user: "1"`, "password: {secret: a}", "server: s.example.net") + "}}"
		},
		"keys": func(x string) string {
			return "secrets: {a: {file: a}}\nyealink: {server: s.example.net}\nphones: {p: {mac: 80:5e:c0:00:00:12, model: T58, account: {user: a, password: {secret: a}}, keys: [" + entry(x, "type: line") + "]}}"
		},
		"nics": func(x string) string {
			return "hosts: {r1n01: {nics: {eth0: " + entry(x, "mac: 52:54:00:aa:01:01") + "}}}"
		},
	}
	tables, _ := documented(t)
	for _, heading := range slices.Sorted(maps.Keys(tables)) {
		for _, r := range tables[heading] {
			text := places[heading](r.example) + "\n"
			if heading == "networks" && r.key == "address" {
				text = isp + strings.Replace(text, `"2001:db8:1::/64"`, "{from: isp, subnet: 0}", 1)
			}
			if heading == "networks" && r.key == "pool" {
				text = strings.Replace(text, "{pool:", "{unknown: pool, pool:", 1)
			}
			for _, s := range []string{"networks: {rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}}\n", "profiles: {debian13: {script: a.ipxe}}\n"} {
				if section, _, _ := strings.Cut(s, ":"); !strings.HasPrefix(text, section+":") && !strings.Contains(text, "\n"+section+":") {
					text += s
				}
			}
			if !strings.HasPrefix(r.example, r.key+":") {
				t.Errorf("%s, %s: the example is of another key: %s", heading, r.key, r.example)
			}
			_, faults := Parse("docs", []byte(text))
			for _, f := range faults {
				t.Errorf("%s, %s: %s\n%s", heading, r.key, f, text)
			}
		}
	}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readDoc(t)), -1) {
		mustParse(t, block[1])
	}
}

// TestModules: the tables of docs/modules are those of docs/inventory.md.
func TestModules(t *testing.T) {
	for file, keys := range map[string][]string{
		"dns.md":      slices.Concat(keysOf(dnsFields).now, keysOf(recordFields).now, keysOf(dns64Fields).now, keysOf(hostDNSFields).now),
		"yealink.md":  slices.Concat(keysOf(yealinkFields).now, phoneKeys(), keysOf(accountFields).now, keysOf(phoneKeyFields).now),
		"ra.md":       slices.Concat(keysOf(raFields).now, keysOf(raPrefixFields).now, keysOf(raRouteFields).now, keysOf(raPref64Fields).now),
		"dhcp6.md":    slices.Concat(dhcpSettings(), keysOf(poolFields).now, []string{"pool", "mac", "address", "uuid", "duid", "nics"}, typedOptions()),
		"upstream.md": keysOf(uplinkFields).now,
		"docker.md":   slices.Concat(keysOf(dockerFields).now, keysOf(followFields).now),
		"anyip.md":    keysOf(anyipFields).now,
	} {
		module, err := os.ReadFile("../../docs/modules/" + file)
		if err != nil {
			t.Fatal(err)
		}
		whole := string(readDoc(t))
		for line := range strings.Lines(string(module)) {
			if strings.HasPrefix(line, "| `") && strings.Count(line, "|") >= 6 && !strings.Contains(whole, line) {
				t.Errorf("docs/modules/%s: not a row of docs/inventory.md: %s", file, line)
			}
		}
		for _, k := range keys {
			if !strings.Contains(string(module), "\n| `"+k+"` |") {
				t.Errorf("docs/modules/%s: no row for %s", file, k)
			}
		}
		for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(module), -1) {
			mustParse(t, block[1])
		}
	}
}

// dhcpSettings are those that a DHCPv6 client notices.
func dhcpSettings() []string {
	return []string{"unknown", "nameservers", "search", "ntp", "preferred", "valid", "t1", "t2", "information_refresh", "timezone", "loader", "options"}
}

// phoneKeys are those that only phones have.
func phoneKeys() []string {
	return slices.DeleteFunc(keysOf(phoneFields).now, func(k string) bool {
		return slices.ContainsFunc(settingsFields, func(f field[Settings]) bool { return f.name == k })
	})
}

func readDoc(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("../../docs/inventory.md")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDocumentedFaults looks for each fault among the exact texts of testdata/bad.
func TestDocumentedFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var texts strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts.Write(data)
	}
	tables, _ := documented(t)
	for heading, rows := range tables {
		for _, r := range rows {
			if !strings.Contains(texts.String(), r.fault) {
				t.Errorf("%s, %s: no bad inventory gives the fault %q", heading, r.key, r.fault)
			}
		}
	}
}

// TestDocumentedDefaults compares the defaults of the tables with what is built in.
func TestDocumentedDefaults(t *testing.T) {
	tables, _ := documented(t)
	for heading, builtin := range map[string]any{"Settings": Builtin(), "serve": BuiltinServe(), "dns": BuiltinDNS(), "ra": BuiltinRA(), "upstreams": BuiltinUplink(), "yealink": BuiltinYealink()} {
		v := reflect.ValueOf(builtin)
		for _, r := range tables[heading] {
			i := slices.IndexFunc(slices.Collect(v.Type().Fields()), func(f reflect.StructField) bool { return fold(f.Name) == fold(r.key) })
			if i < 0 {
				t.Errorf("%s: no field for %s", heading, r.key)
				continue
			}
			for _, want := range texts(v.Field(i)) {
				if !strings.Contains(r.def, "`"+want+"`") {
					t.Errorf("%s, %s: the default is `%s`, the document says %s", heading, r.key, want, r.def)
				}
			}
		}
	}
}

// texts writes a built-in value as the document does; none for what is not built in.
func texts(v reflect.Value) []string {
	if v.Kind() == reflect.Slice {
		return nil
	}
	if v.Kind() == reflect.Map {
		var out []string
		for _, k := range v.MapKeys() {
			for _, s := range texts(v.MapIndex(k)) {
				out = append(out, k.String()+": "+s)
			}
		}
		return out
	}
	if v.Kind() != reflect.Struct || !v.FieldByName("From").IsValid() || v.FieldByName("From").String() == "" {
		return nil
	}
	switch x := v.FieldByName("V").Interface().(type) {
	case time.Duration:
		return []string{brief(x)}
	case netip.AddrPort:
		return []string{x.String()}
	case uint64:
		return []string{fmt.Sprint(x/1e6) + "M"}
	default:
		return []string{fmt.Sprint(x)}
	}
}

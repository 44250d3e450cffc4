package arch

// rule says what one package may import of this module, and why the arrow points that way. "+" before a name in extra
// is allowed in tests only.
type rule struct {
	may []string
	why string
}

const mod = "bootd.internal/"

// leaves and decisions are pure: nothing in them may open a file, read a clock or speak a protocol.
var pure = []string{
	"bootd/ident", "bootd/reason", "bootd/option", "bootd/inventory", "bootd/site", "bootd/store", "bootd/lease", "bootd/install",
	"bootd/timeline", "bootd/decide/who", "bootd/decide/address", "bootd/decide/advert", "bootd/decide/name",
	"bootd/decide/boot", "bootd/decide/phone", "bootd/decide/uplink", "bootd/yealink", "bootd/render", "bootd/lint", "bootd/change", "bootd/prefix",
	"bootd/importer",
}

// exceptions are imports that one pure package needs; each with its reason.
var exceptions = map[string]string{
	"bootd/store context": "the contract's Update and Watch end with their caller",
}

// unclean are imports that no pure package may have.
var unclean = map[string]string{
	"os":            "a decision never touches the machine",
	"log/slog":      "adapters log, decisions explain themselves by their Reason",
	"log":           "adapters log, decisions explain themselves by their Reason",
	"context":       "a decision ends by itself",
	"net/http":      "protocols stop in their adapter",
	"net":           "use net/netip",
	"math/rand":     "chance is an argument (math/rand/v2's Rand)",
	"crypto/rand":   "chance is an argument",
	"path/filepath": "a decision never touches the machine",
}

// libraries stop inside the package that owns the protocol.
var libraries = map[string]string{
	"github.com/insomniacslk/dhcp":        "bootd/dhcp6",
	"github.com/miekg/dns":                "bootd/dns",
	"github.com/mdlayher/ndp":             "bootd/ra",
	"github.com/pin/tftp":                 "bootd/tftp",
	"gopkg.in/yaml.v3":                    "bootd/inventory",
	"github.com/vishvananda/netlink":      "bootd/netif",
	"github.com/prometheus/client_golang": "bootd/daemon",
}

// rules: a package that is not here is not allowed to exist; add it with its arrows and the reason.
var rules = map[string]rule{
	"bootd/ident":         {nil, "names of machines know nothing"},
	"bootd/reason":        {nil, "the closed enum is the bottom of everything"},
	"bootd/option":        {[]string{"bootd/ident"}, "the registry of DHCPv6 options: octets and names, nothing of a site"},
	"bootd/trace":         {[]string{"bootd/ident", "bootd/reason"}, "shows exchanges to people, and knows nothing of who decided them"},
	"bootd/yealink":       {[]string{"bootd/ident"}, "facts about phones, nothing of a site"},
	"bootd/inventory":     {[]string{"bootd/ident", "bootd/option", "bootd/yealink"}, "the grammar knows names, not the machine"},
	"bootd/site":          {[]string{"bootd/ident", "bootd/inventory", "bootd/option", "bootd/yealink"}, "a snapshot is inventory plus facts"},
	"bootd/site/sitetest": {[]string{"bootd/ident", "bootd/inventory", "bootd/site"}, "builds snapshots for tests"},
	"bootd/store":         {nil, "the contract knows keys and octets"},
	"bootd/store/memory":  {[]string{"bootd/store"}, "an engine knows the contract only"},
	"bootd/store/journal": {
		[]string{"bootd/store", "bootd/store/memory"}, "the journal keeps everything in the map engine",
	},
	"bootd/store/storetest": {
		[]string{"bootd/store"}, "the suite that every engine passes knows the contract only",
	},
	"bootd/lease":            {[]string{"bootd/ident", "bootd/store"}, "a binding is a record of the store"},
	"bootd/install":          {[]string{"bootd/ident", "bootd/reason", "bootd/site", "bootd/store"}, "arms and tokens are records of the store"},
	"bootd/timeline":         {[]string{"bootd/ident", "bootd/reason"}, "history is for people: nothing may depend on what it says"},
	"bootd/timeline/history": {[]string{"bootd/timeline"}, "keeps events, knows nothing of what they mean to a decision"},
	"bootd/heard":            {[]string{"bootd/ident", "bootd/reason", "bootd/timeline"}, "remembers what adapters observed, for people"},
	"bootd/doctor":           {[]string{"bootd/decide/advert", "bootd/heard", "bootd/netif", "bootd/site", "bootd/timeline"}, "looks at everything, decides nothing"},
	"bootd/decide/who": {
		[]string{"bootd/ident", "bootd/reason", "bootd/site", "bootd/store", "bootd/lease"}, "identity asks snapshot and store",
	},
	"bootd/decide/address": {
		[]string{
			"bootd/decide/who", "bootd/ident", "bootd/lease", "bootd/option", "bootd/reason", "bootd/site", "bootd/store",
			"bootd/timeline", "bootd/yealink",
		}, "what a DHCPv6 client gets",
	},
	"bootd/decide/advert": {
		[]string{"bootd/ident", "bootd/reason", "bootd/site", "bootd/store", "bootd/timeline"},
		"what the RA says, what another router's RA contradicts, and which prefixes outlive a restart",
	},
	"bootd/decide/name": {[]string{"bootd/ident", "bootd/lease", "bootd/prefix", "bootd/reason", "bootd/site", "bootd/store"}, "what a name is"},
	"bootd/decide/boot": {
		[]string{
			"bootd/decide/who", "bootd/ident", "bootd/install", "bootd/lease", "bootd/reason", "bootd/render",
			"bootd/site", "bootd/store", "bootd/timeline",
		}, "what a machine boots",
	},
	"bootd/decide/uplink": {[]string{"bootd/ident", "bootd/reason"}, "what we ask a delegating router, and what its answers mean"},
	"bootd/decide/phone": {
		[]string{
			"bootd/decide/who", "bootd/ident", "bootd/reason", "bootd/render", "bootd/site", "bootd/store", "bootd/timeline",
			"bootd/yealink",
		}, "which of its files a phone is given",
	},
	"bootd/authority": {nil, "certificates know nothing of who is served"},
	"bootd/render":    {[]string{"bootd/ident", "bootd/inventory", "bootd/site", "bootd/yealink"}, "templates and data to octets"},
	"bootd/change":    {[]string{"bootd/render", "bootd/site"}, "compares two snapshots and what they render to"},
	"bootd/lint":      {nil, "reads octets as clients do, and knows neither hosts nor templates"},
	"bootd/importer": {
		[]string{"bootd/ident", "bootd/inventory"}, "text in, text out; the grammar proves what it writes",
	},
	"bootd/prefix": {nil, "arithmetic knows nothing"},
	"bootd/files":  {nil, "the served directory, shared by HTTP and TFTP"},
	"bootd/ingress": {
		[]string{"bootd/ident", "bootd/reason", "bootd/site"},
		"where a datagram came in, who is counted for it, and the answer's source address, shared by adapters",
	},
	"bootd/egress": {nil, "sockets to servers, octets out and in"},
	"bootd/netif":  {[]string{"bootd/ident", "bootd/site"}, "the kernel, as facts of a site"},
	"bootd/netif/netiftest": {
		[]string{"bootd/ident", "bootd/netif", "bootd/site"}, "fakes of the kernel",
	},
	"bootd/dhcp6": {adapter("bootd/decide/address", "bootd/decide/who", "bootd/ingress", "bootd/option", "bootd/trace"), "adapters parse, ask, commit, write"},
	"bootd/ra":    {adapter("bootd/decide/advert", "bootd/netif"), "layer-2 unicast (RFC 6085) needs frames, and netif is all that touches the kernel"},
	"bootd/dns":   {adapter("bootd/decide/name", "bootd/egress", "bootd/ingress"), "adapters parse, ask, commit, write"},
	"bootd/http":  {adapter("bootd/decide/boot", "bootd/decide/phone", "bootd/decide/who", "bootd/files", "bootd/ingress", "bootd/install", "bootd/render"), "adapters parse, ask, commit, write"},
	"bootd/tftp":  {adapter("bootd/files", "bootd/ingress"), "adapters parse, ask, commit, write"},
	"bootd/routes": {
		[]string{"bootd/lease", "bootd/netif", "bootd/reason", "bootd/site", "bootd/store", "bootd/timeline"},
		"a module: leases in, the kernel's routes out, no hook into a decision",
	},
	"bootd/addresses": {
		[]string{"bootd/netif", "bootd/reason", "bootd/site", "bootd/timeline"},
		"a module: prefixes in, our addresses on links out, no hook into a decision",
	},
	"bootd/upstream": {
		[]string{
			"bootd/command", "bootd/decide/uplink", "bootd/ident", "bootd/inventory", "bootd/option", "bootd/reason", "bootd/site", "bootd/store",
			"bootd/timeline",
		},
		"a module: carries what decide/uplink says, keeps and publishes what it is given",
	},
	"bootd/command": {nil, "runs a program, whoever wants it"},
	"bootd/docker":  {nil, "octets of a daemon.json in, octets out"},
	"bootd/follow": {
		[]string{"bootd/command", "bootd/docker", "bootd/reason", "bootd/site", "bootd/store", "bootd/timeline"},
		"a module: prefixes in, files and commands of other programs out, no hook into a decision",
	},
	"bootd/anyip": {
		[]string{"bootd/ident", "bootd/netif", "bootd/reason", "bootd/site", "bootd/timeline"},
		"a module: snapshot in, the kernel's local routes out, no hook into a decision",
	},
	"templates":  {nil, "octets only"},
	"ipxe-build": {nil, "octets only"},
}

// anything may be imported by these: they wire.
var wiring = []string{"bootd/api", "bootd/daemon", "bootd/explain", "cmd/bootd"}

// outside the daemon: labs, packaging and slow tests.
var outside = []string{"lab", "packaging", "test/"}

func adapter(more ...string) []string {
	return append([]string{
		"bootd/ident", "bootd/lease", "bootd/reason", "bootd/site", "bootd/store", "bootd/timeline",
	}, more...)
}

// testOnly may be imported by any package's tests.
var testOnly = []string{
	"bootd/netif", "bootd/site/sitetest", "bootd/store/memory", "bootd/store/storetest", "bootd/store/journal", "bootd/netif/netiftest",
	"bootd/inventory", "bootd/timeline", "bootd/lease", "bootd/reason", "bootd/yealink", "templates", "lab",
}

package netns_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/authority"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/yealink"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

const (
	lobbyMAC = "00:15:65:00:00:20"
	deskMAC  = "80:5e:c0:00:00:12"
	boardMAC = "80:5e:c0:00:00:58"
	sipAddr  = "2001:db8:1::5"
)

// phoneRack serves examples/yealink.yaml, on the rack's own prefix and with a name for the SIP server.
func phoneRack(t *testing.T, more string) *labtest.Rack {
	t.Helper()
	example, err := os.ReadFile("../../examples/yealink.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(example), "2001:db8:40:", "2001:db8:1:")
	text = strings.Replace(text, "{server: sip.example.net}", "{server: sip.example.net"+more+"}", 1)
	text += "dns: {records: {sip.example.net: {aaaa: \"" + sipAddr + "\"}}}\n"
	files := map[string][]byte{}
	for _, name := range []string{"lobby", "desk12", "board"} {
		files["../secrets/"+name] = []byte(name + " secret\n")
	}
	return labtest.NewRack(t, labtest.RackConfig{Inventory: text, Files: files})
}

// handset plays a phone: it follows the sequence of Yealink's Auto Provisioning Guide V81, and takes what it is told.
type handset struct {
	t     *testing.T
	r     *labtest.Rack
	node  *lab.Node
	mac   string
	agent string
	// common is the name of its model's common file; old firmware (V73 and before) knows no boot files.
	common string
	old    bool
	// settings are those of its flash; trusts is the file of authorities that it believes.
	settings map[string]string
	trusts   string
	// asked are the names that it asked for, with the status.
	asked []string
}

func newHandset(t *testing.T, r *labtest.Rack, name, mac, model, firmware string) *handset {
	t.Helper()
	m, ok := yealink.ByName(model)
	if !ok {
		t.Fatalf("no model %s", model)
	}
	return &handset{
		t: t, r: r, node: r.Client(t, name, mac), mac: strings.ReplaceAll(mac, ":", ""), common: m.Common(), old: m.Old,
		settings: map[string]string{},
		agent:    "Yealink SIP-" + model + " " + firmware + " " + mac,
	}
}

// get fetches one file; curl's arguments are a phone's TLS.
func (h *handset) get(url string, more ...string) (status, body string) {
	h.t.Helper()
	args := []string{"-sS", "-g", "-A", h.agent, "-w", "\n%{http_code}"}
	if h.trusts != "" {
		args = append(args, "--cacert", h.trusts)
	}
	out := run(h.t, h.node, "curl", append(append(args, more...), url)...)
	i := strings.LastIndexByte(out, '\n')
	h.asked = append(h.asked, path.Base(url)+" "+out[i+1:])
	return out[i+1:], out[:i]
}

var includes = regexp.MustCompile(`(?m)^include:config "(.*)"$`)

// provision fetches boot file and configurations from a URL, as a phone does at power-on.
func (h *handset) provision(base string) {
	h.t.Helper()
	h.asked = nil
	names := []string{h.common, h.mac + ".cfg"}
	for _, boot := range []string{h.mac + ".boot", "y000000000000.boot"} {
		if h.old {
			break
		}
		if status, body := h.get(base + boot); status == "200" {
			names = nil
			for _, m := range includes.FindAllStringSubmatch(body, -1) {
				names = append(names, strings.ReplaceAll(m[1], "$mac", h.mac))
			}
			break
		}
	}
	for _, name := range names {
		status, body := h.get(base + name)
		if status != "200" {
			continue
		}
		lines, faults := yealink.ParseConfig([]byte(body))
		if len(faults) > 0 {
			h.t.Fatalf("%s: %v\n%s", name, faults, body)
		}
		for _, l := range lines {
			h.settings[strings.TrimPrefix(l.Name, "static.")] = l.Value
		}
	}
	if url := h.settings["trusted_certificates.url"]; url != "" && h.trusts == "" {
		status, body := h.get(url)
		if status != "200" {
			h.t.Fatalf("%s: %s", url, status)
		}
		file := h.r.Path(h.node.Name + ".trusts")
		if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
			h.t.Fatal(err)
		}
		h.trusts = file
	}
}

// toTheEnd provisions from the first URL and then from the one that the phone was told.
func (h *handset) toTheEnd(first string) {
	h.t.Helper()
	h.provision(first)
	if h.settings["account.1.password"] != "" {
		h.t.Errorf("%s was given its password over plain http", h.node.Name)
	}
	next := h.settings["auto_provision.server.url"]
	if !strings.HasPrefix(next, "https://[2001:db8:1::1]/yealink/") || h.settings["auto_provision.dhcp_option.enable"] != "0" {
		h.t.Fatalf("%s is told to go on at %q", h.node.Name, next)
	}
	h.provision(next)
	want := h.node.Name + " secret"
	if got := h.settings["account.1.password"]; got != want {
		h.t.Errorf("%s has the password %q, asked %v", h.node.Name, got, h.asked)
	}
}

// dhcp has dhclient ask for an address and for option 59, and gives the URL.
func (h *handset) dhcp() string {
	h.t.Helper()
	if err := h.node.Sysctl(map[string]string{"net/ipv6/conf/eth0/accept_ra": "2"}); err != nil { // the route comes by RA
		h.t.Fatal(err)
	}
	linkLocal(h.t, h.node)
	dir := h.r.Path(h.node.Name)
	client{
		name: "dhclient",
		files: map[string]string{
			"conf":   "option dhcp6.provisioning code 59 = text;\nalso request dhcp6.provisioning;\n",
			"script": strings.Replace(applyScript, "exit 0\n", "echo \"$new_dhcp6_provisioning\" >$0.new && mv $0.new $0.$reason\n", 1),
		},
		command: func(dir string) []string {
			return []string{"dhclient", "-6", "-d", "-v", "-cf", dir + "/conf", "-lf", dir + "/leases", "-pf", dir + "/pid", "-sf", dir + "/script", "eth0"}
		},
	}.start(h.t, h.r, h.node)
	var url string
	err := lab.WaitFor(labtest.Context(h.t, patience), "dhclient has the URL", func() bool {
		b, err := os.ReadFile(dir + "/script.BOUND6")
		url = strings.Trim(strings.TrimSpace(string(b)), `"`)
		return err == nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	waitAddr(h.t, h.node, func(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() })
	return url
}

func bootd(t *testing.T, r *labtest.Rack, command string, args ...string) string {
	t.Helper()
	out, err := r.Daemon.Run(labtest.Context(t, patience), command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestPhones takes three phones from the factory to their accounts: a T20P that has no DHCPv6, a T41S and a T58 that have; and
// registers the T41S's account at a SIP server over TLS.
func TestPhones(t *testing.T) {
	r := phoneRack(t, ", local: true")

	lobby := newHandset(t, r, "lobby", lobbyMAC, "T20P", "9.73.0.50")
	if err := lobby.node.Sysctl(map[string]string{"net/ipv6/conf/eth0/accept_ra": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := lobby.node.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	waitAddr(t, lobby.node, func(a netip.Addr) bool { return a == netip.MustParseAddr("2001:db8:1:0:215:65ff:fe00:20") })
	typed := regexp.MustCompile(`type (http\S+) in once`).FindStringSubmatch(bootd(t, r, "explain", "lobby"))
	if typed == nil {
		t.Fatal(bootd(t, r, "explain", "lobby"))
	}
	lobby.toTheEnd(typed[1])
	if want := []string{"y000000000007.cfg 200", "001565000020.cfg 200"}; fmt.Sprint(lobby.asked) != fmt.Sprint(want) {
		t.Errorf("the T20P asked %v", lobby.asked)
	}

	desk := newHandset(t, r, "desk12", deskMAC, "T41S", "66.86.0.15")
	url := desk.dhcp()
	if url != "http://[2001:db8:1::1]/yealink/" {
		t.Fatalf("DHCPv6 told %q", url)
	}
	if e := r.WaitEvent(t, patience, "desk12", timeline.PhoneOffered); !strings.Contains(e.Detail, "59]") {
		t.Errorf("the event says %s", e.Detail)
	}
	desk.toTheEnd(url)

	board := newHandset(t, r, "board", boardMAC, "T58", "58.86.0.20")
	board.toTheEnd(board.dhcp())
	thiefs(t, desk, board)
	uploads(t, r, board)
	registers(t, r, desk)
	shown(t, r)
}

// thiefs: nobody has what belongs to another, and a phone has no boot loader.
func thiefs(t *testing.T, desk, board *handset) {
	t.Helper()
	if status, body := board.get("https://[2001:db8:1::1]/yealink/" + desk.mac + ".cfg"); status != "403" || strings.Contains(body, "secret") {
		t.Errorf("another phone's file: %s %s", status, body)
	}
	if status, _ := board.get("https://[2001:db8:1::1]/yealink/%2e%2e/inventory.yaml"); status != "404" {
		t.Errorf("a file that is none of phones: %s", status)
	}
	if status, _ := board.get("https://[2001:db8:1::1]/boot.ipxe"); status != "404" {
		t.Errorf("a boot script over https: %s", status)
	}
	e := desk.r.WaitEvent(t, patience, "board", timeline.Warning)
	if e.Detail != "80:5e:c0:00:00:58 asked for the file of desk12" {
		t.Errorf("the event says %s", e.Detail)
	}
}

// uploads: what people set at the phone is kept, within bounds.
func uploads(t *testing.T, r *labtest.Rack, board *handset) {
	t.Helper()
	url := "https://[2001:db8:1::1]/yealink/" + board.mac + "-local.cfg"
	if err := os.WriteFile(r.Path("local.cfg"), []byte("#!version:1.0.0.1\nphone_setting.ring_type = Ring2.wav\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, body := board.get(url, "-T", r.Path("local.cfg")); status != "200" {
		t.Errorf("PUT: %s %s", status, body)
	}
	if status, body := board.get(url); status != "200" || !strings.Contains(body, "Ring2.wav") {
		t.Errorf("GET: %s %s", status, body)
	}
	large, err := os.Create(r.Path("large.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	if err := large.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	out, err := board.node.Command(labtest.Context(t, patience), "curl", "-sSg", "--cacert", board.trusts, "-w", "%{http_code} %{size_upload}",
		"-o", "/dev/null", "-H", "Expect:", "-T", r.Path("large.cfg"), url).Output() // that the connection was cut is no fault
	var status, sent int
	if _, scanErr := fmt.Sscanf(string(out), "%d %d", &status, &sent); scanErr != nil || sent > 64<<20 || status == 200 {
		t.Errorf("an upload of 1 GiB: %v, %s", err, out)
	}
	if status, body := board.get(url); status != "200" || !strings.Contains(body, "Ring2.wav") {
		t.Errorf("after an upload of 1 GiB: %s %.100s", status, body)
	}
}

// registers has baresip log in at kamailio over TLS, with nothing but what the phone was told.
func registers(t *testing.T, r *labtest.Rack, desk *handset) {
	t.Helper()
	pbx, err := r.Node("pbx")
	if err != nil {
		t.Fatal(err)
	}
	err = pbx.Attach(r.Link, lab.Interface{Name: "eth0", Self: lab.NoAddress, Addr: []netip.Prefix{
		netip.MustParsePrefix("fe80::5/64"), netip.MustParsePrefix(sipAddr + "/64"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	ca := sipCertificate(t, r)
	kamailio(t, r, pbx)
	s := desk.settings
	at := func(key string) string { return s["account.1."+key] }
	if at("enable") != "1" || at("sip_server.1.transport_type") != "2" {
		t.Fatalf("the account is %v", s)
	}
	dir := r.Path("baresip")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := "sip_cafile " + ca + "\nsip_verify_server yes\ndns_server [2001:db8:1::1]:53\nmodule_path /usr/lib/baresip/modules\nmodule_app account.so\nmodule_app menu.so\n"
	account := fmt.Sprintf("<sip:%s@%s:%s;transport=tls>;auth_user=%s;auth_pass=\"%s\";regint=60\n",
		at("user_name"), at("sip_server.1.address"), at("sip_server.1.port"), at("auth_name"), at("password"))
	for name, text := range map[string]string{"config": config, "accounts": account, "contacts": ""} {
		if err := os.WriteFile(path.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log := background(t, r, desk.node, "baresip", "-6", "-v", "-f", dir)
	err = lab.WaitFor(labtest.Context(t, patience), "baresip is registered", func() bool {
		b, err := os.ReadFile(log)
		return err == nil && regexp.MustCompile(`1012@sip.example.net.*200 OK`).Match(b)
	})
	if err != nil {
		b, _ := os.ReadFile(log)
		k, _ := os.ReadFile(r.Path("kamailio.log"))
		t.Fatalf("%v\n%s\n%s", err, b, k)
	}
	err = lab.WaitFor(labtest.Context(t, patience), "kamailio has the registration", func() bool {
		b, err := os.ReadFile(r.Path("kamailio.log"))
		return err == nil && strings.Contains(string(b), "registered 1012 over tls from [2001:db8:1:")
	})
	if err != nil {
		b, _ := os.ReadFile(r.Path("kamailio.log"))
		t.Fatalf("%v\n%s", err, b)
	}
}

// sipCertificate makes the SIP server's certificate, and gives the file of its authority.
func sipCertificate(t *testing.T, r *labtest.Rack) string {
	t.Helper()
	dir := r.Path("sip")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	own, err := authority.Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := own.Certificate([]string{"sip.example.net"}, []netip.Addr{netip.MustParseAddr(sipAddr)})
	if err != nil {
		t.Fatal(err)
	}
	key := x509.MarshalPKCS1PrivateKey(c.PrivateKey.(*rsa.PrivateKey))
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, "key.pem": {Type: "RSA PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path.Join(dir, name), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ca := path.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, own.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return ca
}

const kamailioConf = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=2
enable_tls=yes
listen=tls:[` + sipAddr + `]:5061
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "tls.so"
loadmodule "auth.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "%[1]s/sip/cert.pem")
modparam("tls", "private_key", "%[1]s/sip/key.pem")
request_route {
	if (method != "REGISTER") { sl_send_reply("405", "Method Not Allowed"); exit; }
	if (!pv_www_authenticate("sip.example.net", "desk12 secret", "0")) { www_challenge("sip.example.net", "0"); exit; }
	xlog("L_ERR", "registered $au over $proto from [$si]\n");
	save("location");
}
`

// kamailio starts the SIP server and waits until it listens.
func kamailio(t *testing.T, r *labtest.Rack, pbx *lab.Node) {
	t.Helper()
	conf := r.Path("kamailio.cfg")
	if err := os.WriteFile(conf, fmt.Appendf(nil, kamailioConf, r.Path(".")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.Path("kamailio"), 0o755); err != nil {
		t.Fatal(err)
	}
	program(t, pbx, r.Path("kamailio.log"), "kamailio", "-DD", "-E", "-f", conf, "-Y", r.Path("kamailio"), "-P", r.Path("kamailio/pid"), "-w", r.Path("."), "-m", "32", "-M", "4")
	ctx := labtest.Context(t, patience)
	err := lab.WaitFor(ctx, "kamailio listens", func() bool {
		out, err := pbx.Command(ctx, "ss", "-Hltn").Output()
		return err == nil && strings.Contains(string(out), ":5061")
	})
	if err != nil {
		b, _ := os.ReadFile(r.Path("kamailio.log"))
		t.Fatalf("%v\n%s", err, b)
	}
}

// shown: people see who asked for what, with which firmware, and no secret.
func shown(t *testing.T, r *labtest.Rack) {
	t.Helper()
	var phones []api.Phone
	if err := json.Unmarshal([]byte(bootd(t, r, "phones", "--json")), &phones); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"lobby": "T20P 9.73.0.50", "desk12": "T41S 66.86.0.15", "board": "T58 58.86.0.20"}
	for _, p := range phones {
		if p.Seen == nil || p.Seen.Model+" "+p.Seen.Firmware != want[p.Name] || !p.Seen.Files["mac"].TLS {
			t.Errorf("%s: %+v", p.Name, p.Seen)
		}
		delete(want, p.Name)
	}
	if len(want) > 0 {
		t.Errorf("not shown: %v", want)
	}
	text := bootd(t, r, "phones") + bootd(t, r, "status") + bootd(t, r, "events") + bootd(t, r, "explain", "desk12") + bootd(t, r, "render", "desk12")
	log, err := os.ReadFile(r.Daemon.Log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text+string(log), "desk12 secret") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	if !strings.Contains(text, "running (T41S 66.86.0.15)") {
		t.Errorf("the status says nothing of a phone:\n%s", bootd(t, r, "status"))
	}
	if ca := bootd(t, r, "phones", "ca"); !strings.HasPrefix(ca, "-----BEGIN CERTIFICATE-----") {
		t.Errorf("the authority: %s", ca)
	}
	t.Logf("\n%s\n%s", bootd(t, r, "phones"), bootd(t, r, "status"))
}

// TestNoPhones: without phones in the inventory nothing of theirs listens, answers or is made.
func TestNoPhones(t *testing.T) {
	r := newRack(t)
	n := host(t, r)
	if got := run(t, n, "curl", "-sSg", "-o", "/dev/null", "-w", "%{http_code}", "http://[2001:db8:1::1]/yealink/ca.crt"); got != "404" {
		t.Errorf("a file of phones: %s", got)
	}
	if out := run(t, r.Server, "ss", "-Hltn"); strings.Contains(out, ":443 ") {
		t.Errorf("somebody listens:\n%s", out)
	}
	if out := run(t, r.Server, "find", r.Path("."), "-name", "phones-ca*"); out != "" {
		t.Errorf("an authority was made: %s", out)
	}
}

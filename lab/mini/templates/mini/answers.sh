{{- /* The answers of the lab's stand-in installer: shell, read by lab/mini/installer.sh. Variables of the inventory:
  die     a stage at which the installer stops for good, without a word to anybody: disk, unpack or finish
*/ -}}
# {{.FQDN}}, rendered by bootd for this host and this installation. Lines with #| are scripts.
host={{shell .Host}}
root={{printf "%s/mini/root.tar" .Base | shell}}
installed={{shell .URL.Installed}}
first_boot={{shell .URL.FirstBoot}}
console={{if .Console}}{{shell .Console}}{{else}}ttyS0,115200n8{{end}}
die={{.Var "die" "" | shell}}

{{include "preseed/lib.sh" . | script "lib"}}
{{include "guard/disk.sh" . | script "guard"}}
{{- /**/}}

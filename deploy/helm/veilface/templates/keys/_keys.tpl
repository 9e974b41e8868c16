{{/* What only the key service has. */}}

{{- define "veilface.keys.settings" -}}
{{- $service := .root.Values.keys -}}
trust_store: /etc/veilface/credentials/trust.json
audit_file: /var/lib/veilface/audit/audit.jsonl
workers: {{ $service.workers }}
{{- if $service.masterKey.fromSecret }}
master_key_file: /etc/veilface/credentials/master.key
{{- end }}
{{- if $service.thresholds }}
threshold_file: /etc/veilface/files/thresholds.json
{{- end }}
{{- end -}}

{{- define "veilface.keys.files" -}}
{{- with .root.Values.keys.thresholds }}
thresholds.json: {{ toPrettyJson . | quote }}
{{- end }}
{{- end -}}

{{- define "veilface.keys.env" -}}
{{ include "veilface.databaseEnv" . }}
{{- end -}}

{{- define "veilface.keys.credentialFiles" -}}
- signing.key
- trust.json
{{- if .root.Values.keys.masterKey.fromSecret }}
- master.key
{{- end }}
{{- end -}}

{{- define "veilface.keys.mounts" -}}
- name: audit
  mountPath: /var/lib/veilface/audit
{{- include "veilface.databaseMounts" . }}
{{- end -}}

{{- define "veilface.keys.volumes" -}}
{{- include "veilface.databaseVolumes" . }}
{{- end -}}

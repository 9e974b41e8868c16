{{/* Settings become environment variables, by the names that the settings.py of the services has. */}}

{{/* One value as text. Helm's numbers are floats, which would be written as 2e+09. */}}
{{- define "veilface.settingText" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* What every service is set to, as a YAML object by the settings' names. */}}
{{- define "veilface.commonSettings" -}}
{{- $values := .root.Values -}}
{{- $service := get $values .name -}}
{{- $host := $values.bindAddress -}}
{{- $bracketed := ternary (printf "[%s]" $host) $host (contains ":" $host) -}}
listen: {{ printf "%s:%v" $bracketed $service.port | quote }}
tls_certificate: /etc/veilface/credentials/tls.crt
tls_private_key: /etc/veilface/credentials/tls.key
tls_ca: /etc/veilface/credentials/ca.crt
signing_key: /etc/veilface/credentials/signing.key
log_level: {{ $values.logLevel }}
log_format: {{ $values.logFormat }}
drain_timeout_s: {{ $service.drainTimeoutSeconds }}
health_host: {{ $host | quote }}
health_port: {{ $values.healthPort }}
{{- if $values.metrics.enabled }}
metrics_host: {{ $host | quote }}
metrics_port: {{ $values.metrics.port }}
{{- end }}
{{- if $service.accessPolicy }}
access_policy: /etc/veilface/files/access_policy.json
{{- end }}
{{- end -}}

{{- define "veilface.keyServiceSettings" -}}
{{- $keyService := .root.Values.keyService -}}
{{- $own := printf "dns:///%s:%v" (include "veilface.host" (dict "root" .root "name" "keys")) .root.Values.keys.port -}}
key_service: {{ default $own $keyService.address }}
{{- with $keyService.certificateName }}
key_service_name: {{ . }}
{{- end }}
{{- end -}}

{{/* The data of a component's ConfigMap of settings. */}}
{{- define "veilface.environment" -}}
{{- $own := fromYaml (include "veilface.commonSettings" .) -}}
{{- $special := fromYaml (include (printf "veilface.%s.settings" .name) .) -}}
{{- $environment := dict -}}
{{- range $settings := list $own $special (get .root.Values .name).settings -}}
{{- range $name, $value := $settings -}}
{{- $_ := set $environment (printf "VEILFACE_%s" (upper $name)) (include "veilface.settingText" $value) -}}
{{- end -}}
{{- end -}}
{{- toYaml $environment -}}
{{- end -}}

{{- define "veilface.settingsConfigMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "veilface.metadata" (merge (dict "suffix" "settings") .) | nindent 2 }}
data:
  {{- include "veilface.environment" . | nindent 2 }}
{{- end -}}

{{/* The files that settings point to and that hold no secret, as a YAML object; empty if there are none. */}}
{{- define "veilface.files" -}}
{{- $files := fromYaml (include (printf "veilface.%s.files" .name) .) -}}
{{- with (get .root.Values .name).accessPolicy -}}
{{- $_ := set $files "access_policy.json" (toPrettyJson .) -}}
{{- end -}}
{{- if $files -}}{{- toYaml $files -}}{{- end -}}
{{- end -}}

{{- define "veilface.filesConfigMap" -}}
{{- with include "veilface.files" . -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "veilface.metadata" (merge (dict "suffix" "files") $) | nindent 2 }}
data:
  {{- . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The names and labels of objects. Most templates take a component: a dict of "root" and "name". */}}

{{- define "veilface.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- if contains $chart .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $chart | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "veilface.componentName" -}}
{{- printf "%s-%s" (include "veilface.fullname" .root) .name -}}
{{- end -}}

{{- define "veilface.serviceAccountName" -}}
{{- $account := (get .root.Values .name).serviceAccount -}}
{{- if $account.create -}}
{{- default (include "veilface.componentName" .) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{- define "veilface.credentialsSecret" -}}
{{- default (include "veilface.componentName" .) (get .root.Values .name).credentials.existingSecret -}}
{{- end -}}

{{- define "veilface.databaseSecret" -}}
{{- default (printf "%s-database" (include "veilface.componentName" .)) (get .root.Values .name).database.existingSecret -}}
{{- end -}}

{{- define "veilface.redisSecret" -}}
{{- default (printf "%s-redis" (include "veilface.componentName" .)) .root.Values.matching.redis.existingSecret -}}
{{- end -}}

{{- define "veilface.certificateSecret" -}}
{{- printf "%s-tls" (include "veilface.componentName" .) -}}
{{- end -}}

{{/* The host that callers in the cluster use; it is one of the names in the service's certificate. */}}
{{- define "veilface.host" -}}
{{- printf "%s.%s.svc" (include "veilface.componentName" .) .root.Release.Namespace -}}
{{- end -}}

{{- define "veilface.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* Without the versions of the chart: a new one alone is no reason to make pods anew. */}}
{{- define "veilface.podLabels" -}}
app.kubernetes.io/part-of: veilface
{{ include "veilface.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "veilface.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "veilface.podLabels" . }}
{{- end -}}

{{/* The metadata of a component's object: a component and, if its name is not the component's, a "suffix". */}}
{{- define "veilface.metadata" -}}
name: {{ include "veilface.componentName" . }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "veilface.labels" . | nindent 2 }}
{{- end -}}

{{- define "veilface.image" -}}
{{- $image := (get .root.Values .name).image -}}
{{- $repository := $image.repository -}}
{{- with .root.Values.image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .root.Values.image.tag) -}}
{{- end -}}
{{- end -}}

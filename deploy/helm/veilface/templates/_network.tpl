{{/* Who may reach whom. A pod under these policies reaches, and is reached by, what is listed and nothing else. */}}

{{/* The policy of a component; "callers" and "egress" are YAML lists of what only this one has, or empty. */}}
{{- define "veilface.networkPolicy" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $service := get .root.Values .name -}}
{{- if $policy.enabled -}}
{{- $callers := concat $policy.callers $service.extraCallers (fromYamlArray .callers) -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "veilface.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "veilface.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  # The port of health checks is in no rule: the kubelet, on the node itself, reaches it all the same.
  ingress:
    {{- with $callers }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ $service.port }}
    {{- end }}
    {{- if and $.root.Values.metrics.enabled $policy.metricsFrom }}
    - from:
        {{- toYaml $policy.metricsFrom | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ .root.Values.metrics.port }}
    {{- end }}
  egress:
    - to:
        {{- toYaml $policy.dns.to | nindent 8 }}
      ports:
        - protocol: UDP
          port: {{ $policy.dns.port }}
        - protocol: TCP
          port: {{ $policy.dns.port }}
    {{- with .egress }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $service.extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* A peer: the pods of a component of this release. */}}
{{- define "veilface.peer" -}}
- podSelector:
    matchLabels:
      {{- include "veilface.selectorLabels" . | nindent 6 }}
{{- end -}}

{{- define "veilface.keyServiceEgress" -}}
- to:
    {{- if .Values.keys.enabled }}
    {{- include "veilface.peer" (dict "root" . "name" "keys") | nindent 4 }}
    {{- end }}
    {{- with .Values.keyService.to }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - protocol: TCP
      port: {{ .Values.keys.port }}
{{- end -}}

{{/* A dict of "to" and "port", as of databases and Redis. */}}
{{- define "veilface.storeEgress" -}}
- to:
    {{- toYaml .to | nindent 4 }}
  ports:
    - protocol: TCP
      port: {{ .port }}
{{- end -}}

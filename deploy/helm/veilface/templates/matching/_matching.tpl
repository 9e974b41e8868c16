{{/* What only the matching service has. */}}

{{- define "veilface.matching.settings" -}}
{{- $service := .root.Values.matching -}}
{{ include "veilface.keyServiceSettings" . }}
trust_store: /etc/veilface/credentials/trust.json
segment_folder: /var/lib/veilface/segments
segment_memory_bytes: {{ $service.segmentMemoryBytes }}
search_memory_bytes: {{ $service.searchMemoryBytes }}
{{- if $service.fanOut }}
peers: {{ printf "dns:///%s:%v" (include "veilface.host" .) $service.port }}
{{- end }}
{{- if $service.blobs.existingClaim }}
blob_folder: /var/lib/veilface/blobs
{{- end }}
{{- if and $service.redis.enabled $service.redis.tls.existingSecret }}
redis_ca: /etc/veilface/redis/ca.crt
{{- if $service.redis.tls.clientCertificate }}
redis_certificate: /etc/veilface/redis/tls.crt
redis_private_key: /etc/veilface/redis/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "veilface.matching.files" -}}{{- end -}}

{{- define "veilface.matching.env" -}}
{{- $service := .root.Values.matching -}}
{{ include "veilface.databaseEnv" . }}
{{- if $service.redis.enabled }}
- name: VEILFACE_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "veilface.redisSecret" . }}
      key: {{ $service.redis.secretKey }}
{{- end }}
{{- if not (hasKey $service.settings "workers") }}
- name: VEILFACE_WORKERS
  valueFrom:
    resourceFieldRef:
      containerName: matching
      resource: limits.cpu
      divisor: "1"
{{- end }}
{{- end -}}

{{- define "veilface.matching.credentialFiles" -}}
- signing.key
- trust.json
{{- end -}}

{{- define "veilface.matching.mounts" -}}
{{- $service := .root.Values.matching -}}
- name: segments
  mountPath: /var/lib/veilface/segments
{{- if $service.blobs.existingClaim }}
- name: blobs
  mountPath: /var/lib/veilface/blobs
{{- end }}
{{- if and $service.redis.enabled $service.redis.tls.existingSecret }}
- name: redis-tls
  mountPath: /etc/veilface/redis
  readOnly: true
{{- end }}
{{- include "veilface.databaseMounts" . }}
{{- end -}}

{{- define "veilface.matching.volumes" -}}
{{- $service := .root.Values.matching -}}
{{- if not $service.segments.persistence.enabled }}
- name: segments
  emptyDir:
    sizeLimit: {{ $service.segments.sizeLimit }}
{{- end }}
{{- with $service.blobs.existingClaim }}
- name: blobs
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- if and $service.redis.enabled $service.redis.tls.existingSecret }}
- name: redis-tls
  secret:
    secretName: {{ $service.redis.tls.existingSecret }}
    defaultMode: 0440
    items:
      {{- range ternary (list "ca.crt" "tls.crt" "tls.key") (list "ca.crt") $service.redis.tls.clientCertificate }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- end }}
{{- include "veilface.databaseVolumes" . }}
{{- end -}}

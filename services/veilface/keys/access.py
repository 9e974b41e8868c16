"""Who may call which method of the key service unless the operator's own file says otherwise. The rest is denied."""

from typing import Final

from veilface.common.identities import CLIENT_IDENTITY, EMBEDDING_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY

_SERVICE: Final = "/veilface.keys.v1.KeyService"

DEFAULT_ACCESS: Final[dict[str, tuple[str, ...]]] = {
    f"{_SERVICE}/CreateKey": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/GetKey": (OPERATOR_IDENTITY, CLIENT_IDENTITY, EMBEDDING_IDENTITY, MATCHING_IDENTITY),
    f"{_SERVICE}/ListKeys": (OPERATOR_IDENTITY, CLIENT_IDENTITY),
    f"{_SERVICE}/UpdateKey": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/RotateKey": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/DisableKeyVersion": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/EnableKeyVersion": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/DestroyKeyVersion": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/RestoreKeyVersion": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/GetPublicKey": (OPERATOR_IDENTITY, CLIENT_IDENTITY, EMBEDDING_IDENTITY, MATCHING_IDENTITY),
    f"{_SERVICE}/GetEvaluationKeys": (OPERATOR_IDENTITY, MATCHING_IDENTITY),
    f"{_SERVICE}/GetTransformSeed": (EMBEDDING_IDENTITY,),
    f"{_SERVICE}/DecideVerification": (CLIENT_IDENTITY,),
    f"{_SERVICE}/DecideIdentification": (CLIENT_IDENTITY,),
    f"{_SERVICE}/ReencryptTemplates": (MATCHING_IDENTITY,),
    f"{_SERVICE}/GetAuditHead": (OPERATOR_IDENTITY,),
    f"{_SERVICE}/ListAuditRecords": (OPERATOR_IDENTITY,),
}

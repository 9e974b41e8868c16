"""Runs the key service: `python -m veilface.keys`."""

import asyncio
import sys
from datetime import UTC, datetime
from functools import partial

import structlog
from prometheus_client import Counter, Gauge

from veilface.common.database import Database
from veilface.common.health import Readiness
from veilface.common.identities import KEYS_IDENTITY
from veilface.common.identity import AccessPolicy
from veilface.common.logging import configure_logging
from veilface.common.metrics import ServerMetrics
from veilface.common.pool import BoundedPool
from veilface.common.process import run
from veilface.common.server import Registration, serve
from veilface.common.settings import load_settings
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import Reencrypter
from veilface.crypto.secret.registry import generate_key, load_decrypter, load_reencrypter, warm
from veilface.keys.access import DEFAULT_ACCESS
from veilface.keys.domain.administration import KeyAdministration
from veilface.keys.domain.alternation import AlternationMonitor
from veilface.keys.domain.audit import AuditReading
from veilface.keys.domain.ciphertext_budget import CiphertextBudget
from veilface.keys.domain.decide import Decider, DecisionMeans
from veilface.keys.domain.decrypters import DecrypterCache
from veilface.keys.domain.implausibility import ImplausibilityAlarm
from veilface.keys.domain.policy import LARGEST_POLICY_THRESHOLDS
from veilface.keys.domain.reencryption import ReencryptionKeys, ReencryptionMeans
from veilface.keys.domain.thresholds import MOST_OPERATING_POINTS, ThresholdTable
from veilface.keys.domain.vault import Vault
from veilface.keys.hardening import protect_process_memory, wipe_environment_block
from veilface.keys.maintenance import AUDIT, DATABASE, MASTER_KEY, Maintenance
from veilface.keys.servicer import KeyServicer, Rules
from veilface.keys.settings import MASTER_KEY_VARIABLE, KeysSettings
from veilface.keys.storage.audit import DurableAuditLog
from veilface.keys.storage.key_store import SqlKeyStore
from veilface.keys.storage.ledger import SqlLedger
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

_RETRY_S = 2.0
_KERNELS = "kernels"


def _access_policy(settings: KeysSettings) -> AccessPolicy:
    if settings.access_policy is None:
        return AccessPolicy(DEFAULT_ACCESS)
    return AccessPolicy.from_file(settings.access_policy)


def _load_reencrypter(keys: ReencryptionKeys, *, research: bool) -> Reencrypter:
    return load_reencrypter(keys.scheme, keys.profile, keys.secret_key, keys.target, keys.seeds, research=research)


def _implausibility_alarm(metrics: ServerMetrics) -> ImplausibilityAlarm:
    implausible = Gauge(
        "veilface_keys_implausible_templates_seen",
        "1 after the first template or segment slot that was no embedding when it was re-encrypted, until the restart.",
        registry=metrics.registry,
    )

    def alarm() -> None:
        implausible.set(1)
        structlog.get_logger().warning("implausible_templates_seen")

    return ImplausibilityAlarm(alarm)


def _reencryption(settings: KeysSettings, means: DecisionMeans, alarm: ImplausibilityAlarm) -> ReencryptionMeans:
    signer = None if settings.signing_key is None else Signer.from_file(settings.signing_key, KEYS_IDENTITY)
    return ReencryptionMeans(
        vault=means.vault,
        ledger=means.ledger,
        audit=means.audit,
        load=partial(_load_reencrypter, research=settings.research),
        alarm=alarm,
        signer=signer,
        trust=means.trust,
        clock=means.clock,
    )


async def _warm_kernels(readiness: Readiness) -> None:
    await asyncio.to_thread(warm)
    readiness.hold(_KERNELS)


def _now() -> datetime:
    return datetime.now(UTC)


async def _main() -> None:
    settings = load_settings(KeysSettings)
    configure_logging(settings.log_level, settings.log_format)
    protect_process_memory()
    wipe_environment_block(MASTER_KEY_VARIABLE)
    metrics = ServerMetrics()
    alternations = Counter(
        "veilface_keys_alternating_answers",
        "Callers that got alternating answers to near-duplicate probes: a sign of hill climbing.",
        registry=metrics.registry,
    )

    withheld = Counter(
        "veilface_keys_withheld_candidates",
        "Searches decided without candidates that had been named as often as a day allows.",
        registry=metrics.registry,
    )

    def alarm(caller: str) -> None:
        alternations.inc()
        structlog.get_logger().warning("alternating_answers", actor=caller)

    # A connection for each thread, and for the sweeps and the start beside them.
    database = Database(settings.database_url.get_secret_value(), connections=settings.workers + 2)
    audit = DurableAuditLog(database, settings.audit_file, _now)
    vault = Vault(SqlKeyStore(database), partial(generate_key, research=settings.research), _now)
    decrypters = DecrypterCache(vault, partial(load_decrypter, research=settings.research), settings.open_keys)
    means = DecisionMeans(
        vault=vault,
        decrypters=decrypters,
        ledger=SqlLedger(database),
        audit=audit,
        thresholds=ThresholdTable.load(
            settings.threshold_file, LARGEST_POLICY_THRESHOLDS if settings.research else MOST_OPERATING_POINTS
        ),
        trust=TrustStore.from_file(settings.trust_store),
        rules=settings.ticket_rules,
        alternation=AlternationMonitor(alarm),
        budget=CiphertextBudget(settings.open_answers_bytes),
        on_withheld=withheld.inc,
        clock=_now,
    )
    readiness = Readiness(DATABASE, AUDIT, MASTER_KEY, _KERNELS)
    pool = BoundedPool(settings.workers, settings.queue_size, "keys")
    rules = Rules(
        KeyAdministration(vault, decrypters, audit, means.thresholds),
        Decider(means),
        _reencryption(settings, means, _implausibility_alarm(metrics)),
        AuditReading(audit),
    )
    servicer = KeyServicer(rules, pool, settings.largest_segment_bytes, settings.longest_stream_s)
    registration = Registration(
        key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
        servicer,
        key_service_pb2_grpc.add_KeyServiceServicer_to_server,
    )
    maintenance = Maintenance(
        database, audit, settings.master_key_source, means, readiness, _RETRY_S, settings.maintenance_s
    )
    try:
        # A task group, so that an unforeseen error in the background ends the process and is not overlooked.
        async with asyncio.TaskGroup() as tasks:
            background = tasks.create_task(maintenance.run())
            tasks.create_task(_warm_kernels(readiness))
            await serve(settings, [registration], readiness, _access_policy(settings), metrics=metrics)
            background.cancel()
    finally:
        pool.close()
        decrypters.close()
        audit.close()
        database.close()


if __name__ == "__main__":
    sys.exit(run(_main))

"""Sensor readings, without asyncio: report readings that KATO did not expect.

kato-consul dev
CONSUL_HTTP_ADDR=127.0.0.1:PORT python examples/sensors.py
"""

from kato_consul import KatoClient, Session

NORMAL = ["cold", "warm", "hot", "warm"]


def is_unexpected(session: Session, reading: str) -> bool:
    """Observe a reading; return True if KATO had predicted a different one."""
    expected = [
        symbol
        for prediction in session.predictions()
        for event in prediction["future"][:1]
        for symbol in event
    ]
    session.observe([reading], emotives={"load": 0.5})
    return bool(expected) and reading not in expected


def main() -> None:
    """Learn a normal cycle, then observe an abnormal one."""
    with KatoClient() as kato:
        session = kato.session("sensor-7")
        session.observe_sequence([[reading] for reading in NORMAL], learn_at_end=True)
        for reading in ["cold", "warm", "cold"]:
            if is_unexpected(session, reading):
                print("sensor-7: unexpected reading:", reading)


if __name__ == "__main__":
    main()

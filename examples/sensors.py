"""Sensor readings, without asyncio: what KATO did not expect is worth a look.

kato-consul dev
CONSUL_HTTP_ADDR=127.0.0.1:PORT python examples/sensors.py
"""

from kato_consul import KatoClient, Session

NORMAL = ["cold", "warm", "hot", "warm"]


def is_unexpected(session: Session, reading: str) -> bool:
    """Observe a reading; had KATO expected another one?"""
    expected = [
        symbol
        for prediction in session.predictions()
        for event in prediction["future"][:1]
        for symbol in event
    ]
    session.observe([reading], emotives={"load": 0.5})
    return bool(expected) and reading not in expected


def main() -> None:
    """Learn a normal cycle, then watch one that is not."""
    with KatoClient() as kato:
        session = kato.session("sensor-7")
        session.observe_sequence([[reading] for reading in NORMAL], learn_at_end=True)
        for reading in ["cold", "warm", "cold"]:
            if is_unexpected(session, reading):
                print("look at sensor-7: it says", reading)


if __name__ == "__main__":
    main()

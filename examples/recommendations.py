"""Product recommendations: KATO predicts what a customer will view next.

Start a local fleet, and use the address of its Consul agent:

    kato-consul dev
    CONSUL_HTTP_ADDR=127.0.0.1:PORT python examples/recommendations.py
"""

import asyncio

from kato_consul import AsyncKatoClient

VISITS = {
    "ann": ["product_tent", "product_stove", "product_rope"],
    "bob": ["product_tent", "product_stove", "product_boots"],
}


async def view_product(kato: AsyncKatoClient, user: str, product: str) -> list[str]:
    """Record a view; return the products predicted next, most likely first."""
    # All customers of the shop share one knowledge base, the node.
    session = kato.session(user, node_id="shop")
    await session.observe([product])
    return [
        symbol
        for prediction in await session.predictions()
        for event in prediction["future"]
        for symbol in event
        if symbol.startswith("product_")
    ]


async def main() -> None:
    """Learn from the visits of two customers, then recommend products to a third."""
    async with AsyncKatoClient() as kato:
        for user, products in VISITS.items():
            for product in products:
                await view_product(kato, user, product)
            await kato.session(user, node_id="shop").learn()
        await view_product(kato, "cleo", "product_tent")
        print("cleo may like:", await view_product(kato, "cleo", "product_stove"))


if __name__ == "__main__":
    asyncio.run(main())

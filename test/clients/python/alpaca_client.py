"""Alpaca's SDK as a service uses it: through the proxy of the environment, and with its base URL replaced.

Arguments: base URL, token. Prints one JSON object for each.
"""

import json
import sys

from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

BASE_URL, TOKEN = sys.argv[1:]


def trade(client):
    def buy(symbol):
        order = MarketOrderRequest(
            symbol=symbol, qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="order-1"
        )
        return client.submit_order(order)

    placed = buy("AAPL")
    try:
        buy("NONE")
        failure = None
    except APIError as error:
        failure = [error.status_code, error.code, error.message]
    client.cancel_order_by_id(placed.id)
    return {
        "account": client.get_account().account_number,
        "placed": [placed.symbol, placed.client_order_id, placed.status.value],
        "open": [order.symbol for order in client.get_orders()],
        "failure": failure,
    }


print(
    json.dumps(
        [
            trade(TradingClient("PK-placeholder", "placeholder", paper=True)),
            trade(TradingClient(TOKEN, TOKEN, url_override=BASE_URL)),
            trade(TradingClient(oauth_token=TOKEN, url_override=BASE_URL)),
        ]
    )
)

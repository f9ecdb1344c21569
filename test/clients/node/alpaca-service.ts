// A service that knows nothing of sidekey: the Alpaca SDK with its own credentials' variables; a base URL by argument.
import { Alpaca, ApiError, trading } from "@alpacahq/alpaca-trade-api";

const [basePath] = process.argv.slice(2);
const order = { symbol: "AAPL", qty: 1, side: "buy" as const, clientOrderId: "order-1" };

async function failure(placing: () => Promise<unknown>): Promise<unknown> {
  try {
    return await placing();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [error.constructor.name, error.status, error.code, error.message];
  }
}

/** The SDK's front door has no base URL, so it is for services that go through the proxy. */
async function byFacade(): Promise<unknown> {
  const { account, orders } = new Alpaca({ paper: true }).trading;
  const placed = await orders.market(order);
  return {
    account: (await account.getAccount()).accountNumber,
    placed: [placed.symbol, placed.clientOrderId, placed.status],
    open: (await orders.getAllOrders({ status: "open" })).map(({ symbol }) => symbol),
    failure: await failure(() => orders.market({ ...order, symbol: "NONE" })),
  };
}

async function byBasePath(to: string): Promise<unknown> {
  const keyId = process.env.APCA_API_KEY_ID ?? "";
  const configuration = new trading.Configuration({
    basePath: to,
    keyId,
    secret: process.env.APCA_API_SECRET_KEY ?? "",
  });
  const orders = new trading.OrdersApi(configuration);
  const request = { symbol: "AAPL", qty: "1", side: "buy", type: "market", timeInForce: "day" } as const;
  const placed = await orders.postOrder({ postOrderRequest: { ...request, clientOrderId: "order-1" } });
  return {
    account: (await new trading.AccountsApi(configuration).getAccount()).accountNumber,
    placed: [placed.symbol, placed.clientOrderId, placed.status],
    open: (await orders.getAllOrders({ status: "open" })).map(({ symbol }) => symbol),
    failure: await failure(() => orders.postOrder({ postOrderRequest: { ...request, symbol: "NONE" } })),
  };
}

process.stdout.write(`${JSON.stringify(basePath ? await byBasePath(basePath) : await byFacade())}\n`);

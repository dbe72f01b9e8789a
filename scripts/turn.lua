-- Grants accounts the mail of domains by TURN, takes it back, lists who has it: turn grant|revoke SITE DOMAIN ACCOUNT, turn list SITE, turn
-- import SITE FILE.csv (DOMAIN,ACCOUNT on each line, - is standard input).
local verb, site = arg[1], arg[2]
local usage = "usage: turn grant|revoke SITE DOMAIN ACCOUNT | list SITE | import SITE FILE.csv"
if not site then error(usage, 0) end
local domains = GetObject("IIS://LocalHost/SMTPSVC/" .. site .. "/Domain")

local function find(name)
  local ok, d = pcall(domains.GetObject, domains, "IIsSmtpDomain", name)
  if ok then return d end
  if not tostring(d):find("0x80070003", 1, true) then error(d, 0) end
end

local function grant(name, account)
  local d = find(name)
  if not d then
    d = domains:Create("IIsSmtpDomain", name)
  end
  d.RouteAction = bit.bor(d.RouteAction, 514)
  d:PutEx(ADS_PROPERTY_APPEND, "AuthTurnList", {account})
  d:SetInfo()
end

if verb == "grant" and arg[4] then
  grant(arg[3], arg[4])
elseif verb == "revoke" and arg[4] then
  local d = find(arg[3]) or error("there is no domain " .. arg[3], 0)
  d:PutEx(ADS_PROPERTY_DELETE, "AuthTurnList", {arg[4]})
  d:SetInfo()
elseif verb == "list" then
  for d in domains do
    local ok, accounts = pcall(d.GetEx, d, "AuthTurnList")
    if ok and #accounts > 0 then print(d.Name, table.concat(accounts, " ")) end
  end
elseif verb == "import" and arg[3] then
  local file = arg[3] == "-" and io.stdin or assert(io.open(arg[3]))
  transaction(function()
    local n = 0
    for line in file:lines() do
      n = n + 1
      line = line:gsub("#.*", "")
      local name, account = line:match("^%s*([^,%s]+)%s*,%s*([^,%s]+)%s*$")
      if name then
        grant(name, account)
      elseif line:match("%S") then
        error("line " .. n .. ": is not DOMAIN,ACCOUNT: " .. line, 0)
      end
    end
  end)
else
  error(usage, 0)
end
